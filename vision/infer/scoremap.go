package infer

// ScoreMap is a grid of scores, 0 to 1, row by row, that covers a frame: pixel x
// of a row has its centre at OffX + x·StepX of the grid's columns, counted from
// the centre of the first; rows alike.
type ScoreMap struct {
	W, H        int
	Data        []float32
	OffX, StepX float64
	OffY, StepY float64
}
