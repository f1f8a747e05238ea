package infer

// GraphLevel is how far ONNX Runtime rewrites a model's graph before it runs it: the
// sums of fused and re-ordered operators round otherwise. Models run with GraphAll;
// the others are for measuring how far answers move by that.
type GraphLevel string

// The levels, each with what the ones before it do.
const (
	GraphDisable  GraphLevel = "disable"  // as the model's author wrote it
	GraphBasic    GraphLevel = "basic"    // folds constants, removes what does nothing
	GraphExtended GraphLevel = "extended" // fuses operators
	GraphAll      GraphLevel = "all"      // lays tensors out as the processor likes them
)

// GraphLevels lists them, from the least to the most.
func GraphLevels() []GraphLevel {
	return []GraphLevel{GraphDisable, GraphBasic, GraphExtended, GraphAll}
}
