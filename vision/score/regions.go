package score

// components numbers the regions of true pixels of a w×h picture that touch each
// other, corners included: the label of each pixel, -1 outside, and the regions'
// sizes in pixels.
func components(in []bool, w, h int) (label []int32, sizes []int) {
	label = make([]int32, len(in))
	for i := range label {
		label[i] = -1
	}
	var todo []int32 // pixels whose neighbours weren't looked at
	for i := range in {
		if !in[i] || label[i] >= 0 {
			continue
		}
		l := int32(len(sizes))
		label[i], todo = l, append(todo[:0], int32(i))
		size := 0
		for len(todo) > 0 {
			at := int(todo[len(todo)-1])
			todo = todo[:len(todo)-1]
			size++
			x, y := at%w, at/w
			for ny := max(y-1, 0); ny <= min(y+1, h-1); ny++ {
				for nx := max(x-1, 0); nx <= min(x+1, w-1); nx++ {
					if n := ny*w + nx; in[n] && label[n] < 0 {
						label[n] = l
						todo = append(todo, int32(n))
					}
				}
			}
		}
		sizes = append(sizes, size)
	}
	return label, sizes
}
