package infer

import "math"

// classMap is a map of a value for each class and cell, of which the highest
// counts. Values between cells are the model's own, interpolated; scores are
// interpolated as scores.
type classMap struct {
	data    []float32 // planes of n cells
	n       int
	softmax bool
	hidden  int32 // class that isn't told, -1 without one

	class []int32   // each cell's best
	top   []float32 // its value
	fore  []float32 // the highest of those that are told
	sum   []float32 // of exp(value − top), for softmax

	columns []float32 // of one row of pixels: planes of each column's values, mixed of its two cells
	mixed   []int32   // of each column, the row of pixels that it is mixed for, plus 1
	values  []float32 // of pixels between two columns: the best value
	winner  []int32   // and its class
}

// faint is how far below the best a value no longer counts in a sum: less than
// float32 can tell.
const faint = -18

// best reads a map of values of which the highest decides.
func (r *mapReader) best(d *Decoder, data []float32) {
	m, n := &r.classes, r.scores.W*r.scores.H
	m.data, m.n, m.softmax, m.hidden = data, n, d.spec.Activation == Softmax, int32(d.spec.Background-1)
	m.class, m.top, m.fore, m.sum = resized(m.class, n), resized(m.top, n), resized(m.fore, n), resized(m.sum, n)
	m.columns, m.mixed = resized(m.columns, len(data)/n*r.scores.W), resized(m.mixed, r.scores.W)
	clear(m.mixed)
	if !m.rank(d) {
		return
	}
	for k := range n {
		r.scores.Data[k] = m.told(k)
	}
	r.spreadClasses()
}

// rank finds each cell's best class.
func (m *classMap) rank(d *Decoder) bool {
	class, top, fore := m.class, m.top, m.fore
	for k := range top {
		class[k], top[k], fore[k] = 0, nothing, nothing
	}
	for c := range int32(len(m.data) / m.n) {
		plane := m.data[int(c)*m.n:][:len(top)]
		for k, v := range plane {
			if v > top[k] && v <= math.MaxFloat32 {
				class[k], top[k] = c, v
			} else if v-v != 0 {
				d.dropped++
			}
		}
		if c == m.hidden {
			continue
		}
		for k, v := range plane {
			if v > fore[k] && v <= math.MaxFloat32 {
				fore[k] = v
			}
		}
	}
	if m.softmax {
		m.add()
		return true
	}
	for _, v := range m.data {
		if (v < -scoreSlack || v > 1+scoreSlack) && v-v == 0 {
			d.err = noScore(v)
			return false
		}
	}
	return true
}

// nothing stands for a value that is no number.
const nothing = -1e30

// add sums what softmax divides by.
func (m *classMap) add() {
	sum, top := m.sum, m.top[:len(m.sum)]
	clear(sum)
	for c := range len(m.data) / m.n {
		for k, v := range m.data[c*m.n:][:len(sum)] {
			switch away := v - top[k]; {
			case away == 0:
				sum[k]++
			case away > faint && away < 0:
				sum[k] += exp32(away)
			}
		}
	}
}

// told is how much a cell shows something that is told: the rest of the
// background's score, or the best class's without a background.
func (m *classMap) told(k int) float32 {
	if m.top[k] == nothing {
		return 0
	}
	if m.hidden < 0 {
		return m.score(m.class[k], k)
	}
	return 1 - m.score(m.hidden, k)
}

// score is a class's at a cell.
func (m *classMap) score(class int32, k int) float32 {
	if m.top[k] == nothing {
		return 0
	}
	v := m.data[int(class)*m.n+k]
	switch {
	case v-v != 0:
		return 0
	case !m.softmax:
		return min(max(v, 0), 1)
	case class == m.class[k]:
		return 1 / m.sum[k]
	}
	return exp32(v-m.top[k]) / m.sum[k]
}

// highest is the best score of a class that is told, among the frame's cells.
func (m *classMap) highest(s *ScoreMap, w, h int) float32 {
	best := float32(0)
	x0, y0, x1, y1 := s.within(w, h)
	for y := y0; y < y1; y++ {
		for k := y*s.W + x0; k < y*s.W+x1; k++ {
			v := m.fore[k]
			if v == nothing {
				continue
			}
			if m.softmax {
				v = exp32(v-m.top[k]) / m.sum[k]
			}
			best = max(best, v)
		}
	}
	return min(best, 1)
}

// spreadClasses finds each pixel's class. Where the four cells around have one
// class, it is the pixel's.
func (r *mapReader) spreadClasses() {
	m, w := &r.classes, r.scores.W
	if r.across.from == r.across.to {
		return
	}
	first, last := int(r.across.cell[r.across.from]), int(r.across.cell[r.across.to-1])
	for y := r.down.from; y < r.down.to && !r.regions.full; y++ {
		up := int(r.down.cell[y]) * w
		above, below := m.class[up:up+w], m.class[min(up+w, m.n-w):][:w]
		line := classLine{r: r, y: y, class: -1}
		undecided := 0
		for c := first; c <= last; c++ {
			x0, x1 := int(r.across.start[c]), int(r.across.start[c+1])
			if x0 >= x1 {
				continue
			}
			next := min(c+1, w-1)
			class := above[c]
			if class == above[next] && class == below[c] && class == below[next] {
				line.put(class, c, x0, x1)
				continue
			}
			if undecided++; undecided == w/8 {
				line.mixAll()
			}
			line.decide(c, x0, x1)
		}
		line.end(r.across.to)
	}
}

// classLine makes stretches of one row of pixels.
type classLine struct {
	r     *mapReader
	y     int
	class int32 // of the stretch under way, -1 without one
	x0    int
	peak  float32
}

// put adds pixels of one class that lie between column c and the next.
func (l *classLine) put(class int32, c, x0, x1 int) {
	if class != l.class {
		l.end(x0)
		l.class, l.x0, l.peak = class, x0, 0
	}
	if class == l.r.classes.hidden {
		return
	}
	left, right := l.column(class, c), l.column(class, min(c+1, l.r.scores.W-1))
	share := l.r.across.share // linear between the columns: the greatest lies at an end
	l.peak = max(l.peak, lerp(left, right, share[x0]), lerp(left, right, share[x1-1]))
}

// column is a class's score in a column, between its two cells.
func (l *classLine) column(class int32, c int) float32 {
	r := l.r
	up := int(r.down.cell[l.y])*r.scores.W + c
	return lerp(r.classes.score(class, up), r.classes.score(class, min(up+r.scores.W, r.classes.n-r.scores.W+c)), r.down.share[l.y])
}

func (l *classLine) end(x int) {
	if l.class >= 0 && l.class != l.r.classes.hidden && x > l.x0 {
		l.r.regions.add(l.y, l.x0, x, l.class, l.peak)
	}
	l.class = -1
}

// decide interpolates the values of all classes and puts pixels of equal class
// together.
func (l *classLine) decide(c, x0, x1 int) {
	r, w := l.r, l.r.scores.W
	next := min(c+1, w-1)
	l.mix(c)
	l.mix(next)
	m, share := &r.classes, r.across.share[x0:x1]
	m.values, m.winner = resized(m.values, x1-x0), resized(m.winner, x1-x0)
	values, winner := m.values[:len(share)], m.winner[:len(share)]
	for x := range values {
		values[x] = float32(math.Inf(-1))
	}
	for k := range len(m.data) / m.n {
		left, right := m.columns[k*w+c], m.columns[k*w+next]
		for x, f := range share {
			if v := lerp(left, right, f); v > values[x] {
				values[x], winner[x] = v, int32(k)
			}
		}
	}
	from := 0
	for x, class := range winner {
		if class != winner[from] {
			l.put(winner[from], c, x0+from, x0+x)
			from = x
		}
	}
	l.put(winner[from], c, x0+from, x1)
}

// mix computes a column's values for the row of pixels, unless it is done.
func (l *classLine) mix(c int) {
	r, m, w := l.r, &l.r.classes, l.r.scores.W
	if m.mixed[c] == int32(l.y+1) {
		return
	}
	m.mixed[c] = int32(l.y + 1)
	up := int(r.down.cell[l.y])*w + c
	below, f := min(up+w, m.n-w+c), r.down.share[l.y]
	for k := range len(m.data) / m.n {
		m.columns[k*w+c] = lerp(orNothing(m.data[k*m.n+up]), orNothing(m.data[k*m.n+below]), f)
	}
}

// mixAll computes all columns: faster than one by one, for a class's values lie
// side by side.
func (l *classLine) mixAll() {
	r, m, w := l.r, &l.r.classes, l.r.scores.W
	up := int(r.down.cell[l.y]) * w
	down, f := min(up+w, m.n-w), r.down.share[l.y]
	for k := range len(m.data) / m.n {
		out := m.columns[k*w : (k+1)*w]
		above, below := m.data[k*m.n+up:][:len(out)], m.data[k*m.n+down:][:len(out)]
		for c := range out {
			out[c] = lerp(orNothing(above[c]), orNothing(below[c]), f)
		}
	}
	for c := range m.mixed {
		m.mixed[c] = int32(l.y + 1)
	}
}

func orNothing(v float32) float32 {
	if v-v != 0 {
		return nothing
	}
	return v
}

// indices reads a map of class numbers: a pixel has the class of the cell that it
// lies in, for between numbers there is nothing.
func (r *mapReader) indices(d *Decoder, data []float32) {
	m, w := &r.classes, r.scores.W
	m.class = resized(m.class, len(data))
	for k, v := range data {
		c := int32(-1)
		if v >= 0 && v < float32(len(d.spec.Labels)) && v == float32(int32(v)) {
			c = int32(v)
		} else {
			d.dropped++
		}
		if c == int32(d.spec.Background-1) {
			c = -1
		}
		m.class[k], r.scores.Data[k] = c, 0
		if c >= 0 {
			r.scores.Data[k] = 1
		}
	}
	near := func(a *mapAxis, at, cells int) int {
		return min(int(a.cell[at])+int(a.share[at]+0.5), cells-1)
	}
	for y := r.down.from; y < r.down.to && !r.regions.full; y++ {
		row := m.class[near(&r.down, y, r.scores.H)*w:][:w]
		class, x0 := int32(-1), 0
		for x := r.across.from; x < r.across.to; x++ {
			c := row[near(&r.across, x, w)]
			if c == class {
				continue
			}
			if class >= 0 {
				r.regions.add(y, x0, x, class, 1)
			}
			class, x0 = c, x
		}
		if class >= 0 {
			r.regions.add(y, x0, r.across.to, class, 1)
		}
	}
}
