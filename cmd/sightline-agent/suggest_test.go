package main

import (
	"slices"
	"testing"
)

func TestCover(t *testing.T) {
	row := func(on ...int) []bool {
		r := make([]bool, 4)
		for _, c := range on {
			r[c] = true
		}
		return r
	}
	alike := []string{"FAIL", "FAIL", "FAIL", "FAIL"}
	for name, c := range map[string]struct {
		sees     [][]bool
		verdicts []string
		count    int
		want     []int
	}{
		"the most first":          {[][]bool{row(1), row(1, 2), row(2), row(1, 3)}, alike, 1, []int{1}},
		"then what is missing":    {[][]bool{row(1), row(1, 2), row(2), row(1, 3)}, alike, 2, []int{1, 2}},
		"then what few see":       {[][]bool{row(0, 1), row(0, 1), row(0, 3), row(0, 3), row(0, 3)}, alike, 3, []int{0, 3, 1}},
		"as many as there are":    {[][]bool{row(0)}, alike, 9, []int{0, 1, 2, 3}},
		"of no mutants the first": {nil, alike, 2, []int{0, 1}},
		"two verdicts at least":   {[][]bool{row(0, 1, 2), row(0, 1), row(1)}, []string{"FAIL", "FAIL", "FAIL", "PASS"}, 2, []int{1, 3}},
		"one verdict for one":     {[][]bool{row(1)}, []string{"FAIL", "FAIL", "FAIL", "PASS"}, 1, []int{1}},
		"none":                    {nil, nil, 3, nil},
	} {
		if got := cover(c.sees, c.verdicts, c.count); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// TestQuoted: a name with a space can be pasted.
func TestQuoted(t *testing.T) {
	for name, want := range map[string]string{"a/b-1.jpg": "a/b-1.jpg", "http://[::1]:80": "'http://[::1]:80'", "http://a:80": "http://a:80", "a b": "'a b'", "it's": `'it'\''s'`, "$(x)": "'$(x)'"} {
		if got := quoted(name); got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
}
