package bundle

import (
	"bytes"
	"errors"
	"io/fs"
	"math"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func TestGoldenVectors(t *testing.T) {
	g, err := ReadGolden(tiny())
	if err != nil {
		t.Fatal(err)
	}
	want := &Golden{
		Golden: 1, Recorded: Recorded{"cpu", "float32", "1.22.0", "0.5.0"}, Tolerance: Tolerance{0.02, 0.9, 0.01}, Lowest: 0.125,
		Vectors: []Vector{{
			Picture: "golden/one.png", Verdict: "FAIL", Reason: "scratch", Parts: []Judged{{[4]float32{0, 1, 40, 20}, "FAIL", "scratch"}},
			Detections: []Expected{{"scratch", 0.875, [4]float32{1, 2, 30, 4.5}}},
			Outputs:    []RawOutput{{"output0", []int64{1, 3, 2}, 4, []float32{0.5, -1}}},
		}},
	}
	if d := cmp.Diff(want, g); d != "" {
		t.Error(d)
	}
	var b bytes.Buffer
	if err := g.Write(&b); err != nil || b.String() != goodGolden {
		t.Errorf("written: %v\n%s", err, b.String())
	}
	g.Vectors[0].Detections, g.Vectors[0].Parts = nil, nil
	b.Reset()
	if err := g.Write(&b); err != nil || !strings.Contains(b.String(), `"parts":[],"detections":[]`) {
		t.Errorf("without detections: %v\n%s", err, b.String())
	}
	if _, err := ReadGolden(fstest.MapFS{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
	if _, err := ReadGolden(fstest.MapFS{GoldenFile: {Data: make([]byte, maxGolden+1)}}); !errors.Is(err, ErrInvalid) {
		t.Errorf("a huge file: %v", err)
	}
}

func TestBadGolden(t *testing.T) {
	for name, c := range map[string]struct{ old, new, want string }{
		"newer":             {`"golden": 1`, `"golden": 2`, "golden: 2 is not a version"},
		"unknown key":       {`"verdict"`, `"veredict"`, "unknown field"},
		"two documents":     {"\n}\n", "\n}\n{}", "data behind its end"},
		"no provider":       {`"cpu"`, `""`, `recorded.provider: ""`},
		"control character": {`"cpu"`, `"\u001b[2J"`, "recorded.provider"},
		"blind score":       {`"score":0.02`, `"score":1`, "tolerance.score: 1 is outside 0 to 0.25"},
		"negative score":    {`"score":0.02`, `"score":-1`, "tolerance.score: -1"},
		"blind overlap":     {`"iou":0.9`, `"iou":0`, "tolerance.iou: 0 is outside 0.5 to 1"},
		"blind raw":         {`"raw":0.01`, `"raw":9`, "tolerance.raw"},
		"path leaves":       {"golden/one.png", "../one.png", "vectors[0]: picture: \"../one.png\" is not a path"},
		"verdict":           {"FAIL", "MAYBE", `verdict: "MAYBE" is none of`},
		"label":             {`"label":"scratch"`, `"label":""`, "detections[0]: label"},
		"score":             {"0.875", "1.5", "detections[0]: score: 1.5"},
		"score too large":   {"0.875", "1e99", "read golden/expected.json"},
		"negative side":     {"30,4.5", "-30,4.5", "has a negative side"},
		"nowhere":           {"[1,2,30", "[1e30,2,30", "is no place in a picture"},
		"every 0":           {`"every":4`, `"every":0`, "shape and every"},
		"part's verdict":    {`20],"verdict":"FAIL"`, `20],"verdict":"fail"`, "parts[0]: verdict"},
		"part's box":        {"[0,1,40,20]", "[0,1,40,-20]", "parts[0]: box"},
		"lowest":            {"0.125", "1", "lowest: 1 is outside"},
		"sample":            {`"every":4`, `"every":2`, "values: 2, want 3 for every value number 2"},
		"shape of 0":        {"[1,3,2]", "[1,0,2]", "is no tensor"},
		"huge shape":        {"[1,3,2]", "[65536,65536,2]", "is no tensor"},
		"empty vectors":     {"\n ]\n", strings.Repeat(",{}", 1<<20) + "\n ]\n", "objects, at most 300000 are read"},
		"no vectors":        {goodGolden[strings.Index(goodGolden, "  {"):strings.Index(goodGolden, "\n ]")], "", "0 pictures, 1 to 256"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(goodGolden, c.old, c.new, 1)
			if text == goodGolden {
				t.Fatal("nothing was changed")
			}
			_, err := ParseGolden([]byte(text))
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want one with %q", err, c.want)
			}
		})
	}
}

// TestWriteNoNonsense: what couldn't be read again isn't written.
func TestWriteNoNonsense(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(g *Golden)
		want string
	}{
		"no number":   {func(g *Golden) { g.Vectors[0].Outputs[0].Values[0] = float32(math.NaN()) }, "not all are numbers"},
		"no score":    {func(g *Golden) { g.Vectors[0].Detections[0].Score = float32(math.NaN()) }, "score: NaN"},
		"tolerance":   {func(g *Golden) { g.Tolerance.IoU = float32(math.NaN()) }, "tolerance.iou: NaN"},
		"twice":       {func(g *Golden) { g.Vectors = append(g.Vectors, g.Vectors[0]) }, "stands twice"},
		"too many":    {func(g *Golden) { g.Vectors = make([]Vector, MaxVectors+1) }, "257 pictures"},
		"detections":  {func(g *Golden) { g.Vectors[0].Detections = make([]Expected, MaxExpected+1) }, "detections: 4001"},
		"raw outputs": {func(g *Golden) { g.Vectors[0].Outputs = make([]RawOutput, MaxRawOutputs+1) }, "outputs: 65"},
		"raw values": {func(g *Golden) {
			g.Vectors[0].Outputs[0] = RawOutput{"o", []int64{MaxRawValues + 1}, 1, make([]float32, MaxRawValues+1)}
		}, "at most 65536"},
		"too large": {func(g *Golden) {
			raw := RawOutput{"o", []int64{MaxRawValues}, 1, make([]float32, MaxRawValues)}
			for i := range raw.Values {
				raw.Values[i] = 0.123456789
			}
			for range 40 {
				g.Vectors[0].Outputs = append(g.Vectors[0].Outputs, raw)
			}
		}, "use fewer pictures"},
	} {
		t.Run(name, func(t *testing.T) {
			g, err := ParseGolden([]byte(goodGolden))
			if err != nil {
				t.Fatal(err)
			}
			c.edit(g)
			var b bytes.Buffer
			if err := g.Write(&b); err == nil || b.Len() > 0 || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want one with %q; %d bytes were written", err, c.want, b.Len())
			}
		})
	}
}

func FuzzGolden(f *testing.F) {
	f.Add([]byte(goodGolden))
	f.Add([]byte(newGolden))
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := ParseGolden(b)
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := g.Write(&out); err != nil {
			t.Skip(err) // it may be too large, written out
		}
		again, err := ParseGolden(out.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		for i := range g.Vectors {
			if len(g.Vectors[i].Detections) == 0 {
				g.Vectors[i].Detections = []Expected{}
			}
			if len(g.Vectors[i].Parts) == 0 {
				g.Vectors[i].Parts = []Judged{}
			}
			if len(g.Vectors[i].Outputs) == 0 {
				g.Vectors[i].Outputs = nil
			}
		}
		if d := cmp.Diff(g, again); d != "" {
			t.Error(d)
		}
	})
}
