package score

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
)

// A Slice is some of the pictures, by their indices.
type Slice struct {
	Name     string
	Pictures []int
}

// ByKey parts n pictures by a word of each, its place or its batch; slices are
// sorted by it, and one without a word is called "none".
func ByKey(n int, key func(picture int) string) []Slice {
	at := map[string]int{}
	var out []Slice
	for i := range n {
		k := key(i)
		if k == "" {
			k = "none"
		}
		if _, ok := at[k]; !ok {
			at[k] = len(out)
			out = append(out, Slice{Name: k})
		}
		out[at[k]].Pictures = append(out[at[k]].Pictures, i)
	}
	slices.SortFunc(out, func(a, b Slice) int { return compareWords(a.Name, b.Name) })
	return out
}

// compareWords has numbers first, by size.
func compareWords(a, b string) int {
	number := func(s string) float64 {
		if v, err := strconv.ParseFloat(s, 64); err == nil && !math.IsNaN(v) {
			return v
		}
		return math.Inf(1)
	}
	if c := cmp.Compare(number(a), number(b)); c != 0 {
		return c
	}
	return cmp.Compare(a, b)
}

// ByQuantiles parts pictures by a number of each, its brightness or the size of
// its fault, into so many slices of as equal count as equal numbers allow: those
// stay together. Slices are named by the range that their pictures have.
func ByQuantiles(values []float64, parts int) ([]Slice, error) {
	if parts < 1 {
		return nil, fmt.Errorf("part pictures: into %d parts", parts)
	}
	order := make([]int, len(values))
	for i, v := range values {
		if math.IsNaN(v) {
			return nil, fmt.Errorf("part pictures: the number of picture %d is NaN", i)
		}
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(values[a], values[b]) })
	var out []Slice
	for from := 0; from < len(order); {
		to := max((len(out)+1)*len(order)/parts, from+1)
		for to < len(order) && values[order[to]] == values[order[to-1]] {
			to++
		}
		low, high := values[order[from]], values[order[to-1]]
		s := Slice{Name: fmt.Sprintf("%.4g to %.4g", low, high), Pictures: slices.Clone(order[from:to])}
		slices.Sort(s.Pictures)
		out = append(out, s)
		from = to
	}
	return out, nil
}

// A Row is one slice's line of a table.
type Row[T any] struct {
	Slice    string `json:"slice"`
	Pictures int    `json:"pictures"`
	Of       T      `json:"of"`            // the zero value where Why is set
	Why      string `json:"why,omitempty"` // there is nothing to measure, as no bad picture
}

// Table measures every slice on its own. A slice that can't be measured has its
// reason in its row; the others stand.
func Table[T any](parts []Slice, measure func(pictures []int) (T, error)) []Row[T] {
	var out []Row[T]
	for _, s := range parts {
		row := Row[T]{Slice: s.Name, Pictures: len(s.Pictures)}
		if of, err := measure(s.Pictures); err != nil {
			row.Why = err.Error()
		} else {
			row.Of = of
		}
		out = append(out, row)
	}
	return out
}

// Pick are the things of some pictures.
func Pick[T any](things []T, pictures []int) []T {
	out := make([]T, 0, len(pictures))
	for _, i := range pictures {
		out = append(out, things[i])
	}
	return out
}
