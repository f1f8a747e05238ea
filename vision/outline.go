package vision

// Outlines are closed polygons around the region, in the frame's pixels, with at
// most so many points in all.
func (m *Mask) Outlines(most int) [][][2]int {
	return [][][2]int{{{m.X, m.Y}, {m.X + m.W, m.Y}, {m.X + m.W, m.Y + m.H}, {m.X, m.Y + m.H}}}
}
