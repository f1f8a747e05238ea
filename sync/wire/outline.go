package wire

// newOutlines puts polygons on the wire, as steps from point to point: most are
// a byte long.
func newOutlines(polygons [][][2]int) []*Outline {
	var out []*Outline
	for _, points := range polygons {
		o, at := &Outline{}, [2]int{}
		for _, p := range points {
			o.Steps = append(o.Steps, int32(p[0]-at[0]), int32(p[1]-at[1]))
			at = p
		}
		out = append(out, o)
	}
	return out
}

// visionOutlines takes polygons off the wire.
func visionOutlines(outlines []*Outline) [][][2]int {
	var out [][][2]int
	for _, o := range outlines {
		var points [][2]int
		at, steps := [2]int{}, o.GetSteps()
		for i := 0; i+1 < len(steps); i += 2 {
			at[0], at[1] = at[0]+int(steps[i]), at[1]+int(steps[i+1])
			points = append(points, at)
		}
		out = append(out, points)
	}
	return out
}
