package score

import (
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestByKey(t *testing.T) {
	places := []string{"left", "", "10", "left", "9", "right"}
	got := ByKey(len(places), func(i int) string { return places[i] })
	want := []Slice{{"9", []int{4}}, {"10", []int{2}}, {"left", []int{0, 3}}, {"none", []int{1}}, {"right", []int{5}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestByQuantiles(t *testing.T) {
	for _, c := range []struct {
		values []float64
		parts  int
		want   []Slice
	}{
		{[]float64{5, 1, 4, 2, 3, 6}, 3, []Slice{{"1 to 2", []int{1, 3}}, {"3 to 4", []int{2, 4}}, {"5 to 6", []int{0, 5}}}},
		{[]float64{1, 1, 1, 1, 2}, 2, []Slice{{"1 to 1", []int{0, 1, 2, 3}}, {"2 to 2", []int{4}}}},
		{[]float64{1, 2}, 5, []Slice{{"1 to 1", []int{0}}, {"2 to 2", []int{1}}}},
		{[]float64{7, 7}, 1, []Slice{{"7 to 7", []int{0, 1}}}},
		{nil, 3, nil},
	} {
		got, err := ByQuantiles(c.values, c.parts)
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
			t.Errorf("%v in %d: %v (-want +got)\n%s", c.values, c.parts, err, diff)
		}
	}
	if _, err := ByQuantiles([]float64{1, math.NaN()}, 2); err == nil {
		t.Error("NaN was put in a part")
	}
	if _, err := ByQuantiles(nil, 0); err == nil {
		t.Error("no parts")
	}
}

func TestTable(t *testing.T) {
	scores, bad := []float64{1, 2, 3, 4}, []bool{false, true, false, false}
	got := Table([]Slice{{"a", []int{0, 1}}, {"b", []int{2, 3}}}, func(pictures []int) (float64, error) {
		c, err := NewCurve(Pick(scores, pictures), Pick(bad, pictures))
		if err != nil {
			return 0, errors.New("not reached")
		}
		return c.AUROC()
	})
	want := []Row[float64]{{"a", 2, 1, ""}, {"b", 2, 0, "of 2 pictures 2 are good and 0 bad: it takes both to measure how well they are told apart"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
