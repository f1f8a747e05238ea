package track

import (
	"strings"
	"testing"

	"github.com/sightline-edge/sightline/vision"
)

func TestDecisionPointsAreReadAndWritten(t *testing.T) {
	for text, c := range map[string]struct {
		want Decide
		back string
	}{
		"":                      {Decide{}, "end"},
		"end":                   {Decide{}, "end"},
		"x=0.5":                 {Decide{At: AtLine, Line: Line{0.5, 0, 0.5, 1}}, "x=0.5"},
		"line x=0.5":            {Decide{At: AtLine, Line: Line{0.5, 0, 0.5, 1}}, "x=0.5"},
		"line 0.5,0 0.5,1":      {Decide{At: AtLine, Line: Line{0.5, 0, 0.5, 1}}, "x=0.5"},
		"y=.7":                  {Decide{At: AtLine, Line: Line{0, 0.7, 1, 0.7}}, "y=0.7"},
		" line  0.4,0  0.6,1 ":  {Decide{At: AtLine, Line: Line{0.4, 0, 0.6, 1}}, "line 0.4,0 0.6,1"},
		"zone 0.2,0.1 0.6,0.8":  {Decide{At: AtZone, Zone: vision.Box{X: 0.2, Y: 0.1, W: 0.6, H: 0.8}}, "zone 0.2,0.1 0.6,0.8"},
		"zone 0.2,0.1 0.8,0.9":  {Decide{At: AtZone, Zone: vision.Box{X: 0.2, Y: 0.1, W: 0.8, H: 0.9}}, "zone 0.2,0.1 0.8,0.9"},
		"frames 12":             {Decide{At: AtFrames, Frames: 12}, "frames 12"},
		"line 0.5,0.2 0.5,-0.0": {Decide{At: AtLine, Line: Line{0.5, 0.2, 0.5, 0}}, "line 0.5,0.2 0.5,0"},
	} {
		if got, err := ParseDecide(text); err != nil || got != c.want || got.String() != c.back {
			t.Errorf("%q is %+v (%s), %v; want %+v (%s)", text, got, got, err, c.want, c.back)
		}
	}
}

func TestWrongDecisionPointsAreExplained(t *testing.T) {
	for text, want := range map[string]string{
		"middle":               `decide "middle": must be one of: end, x=0.5, y=0.5, line 0.5,0 0.5,1, zone 0.2,0.1 0.6,0.8, frames 12`,
		"x=320":                `decide "x=320": 320 must be 0 to 1, a share of the picture's width or height, not pixels`,
		"x=half":               `decide "x=half": "half" is no number`,
		"x=NaN":                `decide "x=NaN": NaN must be 0 to 1, a share of the picture's width or height, not pixels`,
		"x=1":                  `decide "x=1": the line lies on the picture's border, which no part's centre crosses; move it inwards, or write: end`,
		"line":                 `decide "line": a line has two points, as in: line 0.5,0 0.5,1 (or in short: x=0.5)`,
		"line 0.5":             `decide "line 0.5": a line has two points, as in: line 0.5,0 0.5,1 (or in short: x=0.5)`,
		"line 0.5 0.6":         `decide "line 0.5 0.6": "0.5" must be two numbers with a comma and no space between them, as in 0.2,0.1`,
		"line 0.5,0 0.5,0":     `decide "line 0.5,0 0.5,0": the line's two points are the same, or nearly`,
		"zone 0.2,0.1":         `decide "zone 0.2,0.1": a zone has a corner and a size, as in: zone 0.2,0.1 0.6,0.8`,
		"zone 0.5,0.1 0.8,0.8": `decide "zone 0.5,0.1 0.8,0.8": the zone goes beyond the picture: the second pair is its width and height, at most 0.5,0.9 from 0.5,0.1`,
		"zone 0,0 1,1":         `decide "zone 0,0 1,1": the zone is the whole picture, which no part's centre leaves; write: end`,
		"zone 0,0 0,1":         `decide "zone 0,0 0,1": the zone's width and height must be at least 0.01, got 0,1`,
		"frames":               `decide "frames": frames has one number, as in: frames 12`,
		"frames many":          `decide "frames many": "many" is no whole number; write it as in: frames 12`,
		"frames 0":             `decide "frames 0": frames must be 1 to 1000, got 0`,
	} {
		if got, err := ParseDecide(text); err == nil || err.Error() != want || got != (Decide{}) {
			t.Errorf("%q: %+v, %v\nwant %s", text, got, err, want)
		}
	}
}

func TestCombinationsAreReadAndWritten(t *testing.T) {
	for text, c := range map[string]struct {
		want Combine
		back string
	}{
		"":          {Combine{}, "standard"},
		"standard":  {Combine{}, "standard"},
		"any":       {Combine{Kind: Any}, "any"},
		"majority":  {Combine{Kind: Majority}, "majority"},
		"best":      {Combine{Kind: Best}, "best"},
		"3 of 10":   {Combine{Kind: KofN, K: 3, N: 10}, "3 of 10"},
		" 1  of 1 ": {Combine{Kind: KofN, K: 1, N: 1}, "1 of 1"},
	} {
		if got, err := ParseCombine(text); err != nil || got != c.want || got.String() != c.back {
			t.Errorf("%q is %+v (%s), %v; want %+v (%s)", text, got, got, err, c.want, c.back)
		}
	}
	for text, want := range map[string]string{
		"most":           `combine "most": must be one of: standard, any, majority, best, 3 of 10`,
		"k of n":         `combine "k of n": both must be whole numbers, as in: 3 of 10`,
		"3 of 2":         `combine "3 of 2": the first number must be 1 to 2, as many as the second, got 3`,
		"0 of 2":         `combine "0 of 2": the first number must be 1 to 2, as many as the second, got 0`,
		"3 of 100000000": `combine "3 of 100000000": the second number must be 1 to 1000 frames, got 100000000`,
		"3of10":          `combine "3of10": must be one of: standard, any, majority, best, 3 of 10`,
	} {
		if got, err := ParseCombine(text); err == nil || err.Error() != want || got != (Combine{}) {
			t.Errorf("%q: %+v, %v\nwant %s", text, got, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range strings.Split(";end;x=0.5;line 0.4,0 0.6,1;zone 0.2,0.1 0.6,0.8;frames 12;any;3 of 10;best;x=1e-45;line 0x1p-3,0 .9,1", ";") {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if d, err := ParseDecide(text); err == nil {
			if again, err := ParseDecide(d.String()); err != nil || again != d || d.Validate() != nil {
				t.Errorf("%q is %+v, and %q again %+v, %v", text, d, d, again, err)
			}
		}
		if c, err := ParseCombine(text); err == nil {
			if again, err := ParseCombine(c.String()); err != nil || again != c || c.Validate() != nil {
				t.Errorf("%q is %+v, and %q again %+v, %v", text, c, c, again, err)
			}
		}
	})
}
