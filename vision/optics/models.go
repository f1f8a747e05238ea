package optics

import (
	"fmt"
	"slices"
	"strings"
)

// model is a kind of distortion by its name in ROS; counts are the numbers of
// coefficients that it may have.
type model struct {
	name    string
	counts  []int
	fisheye bool
}

func models() []model {
	return []model{
		{"plumb_bob", []int{4, 5}, false},
		{"rational_polynomial", []int{8, 12, 14}, false},
		{"equidistant", []int{4}, true},
		{"fisheye", []int{4}, true}, // another name of equidistant
	}
}

// openCV is a file without a model's name: the number of coefficients tells it.
func (f *file) openCV() model {
	if f.Fisheye != 0 {
		return model{"fisheye", []int{4}, true}
	}
	return model{"OpenCV's", []int{4, 5, 8, 12, 14}, false}
}

// distortion reads the coefficients in OpenCV's order.
func (f *file) distortion() (fisheye bool, d [12]float64, err error) {
	v, err := f.Distortion.finite("distortion_coefficients")
	if err != nil {
		return false, d, err
	}
	m, known := f.openCV(), f.Model == ""
	var names []string
	for _, k := range models() {
		names = append(names, k.name)
		if k.name == f.Model {
			m, known = k, true
		}
	}
	switch {
	case !known:
		return false, d, fmt.Errorf("distortion_model is %q: %s are known", f.Model, strings.Join(names, ", "))
	case !slices.Contains(m.counts, len(v)):
		return false, d, fmt.Errorf("distortion_coefficients has %d numbers: the model %s has %s", len(v), m.name, either(m.counts))
	case len(v) == 14 && (v[12] != 0 || v[13] != 0):
		return false, d, fmt.Errorf("distortion_coefficients describe a tilted sensor, which isn't known: calibrate without it")
	}
	copy(d[:], v)
	return m.fisheye, d, nil
}

// either lists numbers as "4 or 5".
func either(n []int) string {
	var all []string
	for _, v := range n {
		all = append(all, fmt.Sprint(v))
	}
	return strings.Join(all, " or ")
}
