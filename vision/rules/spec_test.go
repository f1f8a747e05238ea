package rules

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		in     string
		want   Spec
		labels []string
	}{
		{"threshold:defect>0.5", Spec{"threshold", "defect>0.5"}, nil},
		{"threshold: scratch>=0.7, dent > 0.5,defect>0.9", Spec{"threshold", " scratch>=0.7, dent > 0.5,defect>0.9"}, []string{"scratch", "dent"}},
		{"threshold:traffic light>0.5", Spec{"threshold", "traffic light>0.5"}, []string{"traffic light"}},
		{"my.wasm", Spec{"my.wasm", ""}, nil},
		{"/rules/a:b/my.wasm:k=3:4", Spec{"/rules/a:b/my.wasm", "k=3:4"}, nil},
	} {
		got, err := Parse(tt.in)
		if got != tt.want || err != nil || got.String() != tt.in {
			t.Errorf("%q gave %+v, %v", tt.in, got, err)
		}
		if diff := cmp.Diff(tt.labels, got.Labels()); diff != "" {
			t.Errorf("%q labels (-want +got):\n%s", tt.in, diff)
		}
	}
}

func TestParseSaysWhatWouldDo(t *testing.T) {
	const do = "write threshold:defect>0.5, threshold:scratch>=0.7,dent>0.5, or the path of a .wasm file"
	for in, want := range map[string]string{
		"":                         "no rule is named: " + do,
		"threshold":                `rule "threshold" has no limits: ` + do,
		"threshold:":               `rule "threshold:" has no limits: ` + do,
		"treshold:defect>1":        `rule "treshold:defect>1": there is no standard rule "treshold", only threshold: ` + do,
		"threshold:defect":         `rule "threshold:defect": "defect" has no limit: write label>score, as in defect>0.5`,
		"threshold:defect<0.5":     `rule "threshold:defect<0.5": "defect<0.5" has no limit: write label>score, as in defect>0.5`,
		"threshold:>0.5":           `rule "threshold:>0.5": ">0.5" names no label: write label>score, as in defect>0.5`,
		"threshold:a>50%":          `rule "threshold:a>50%": "a>50%": "50%" is no score from 0 to 1, as in defect>0.5`,
		"threshold:a>NaN":          `rule "threshold:a>NaN": "a>NaN": "NaN" is no score from 0 to 1, as in defect>0.5`,
		"threshold:a>1.5":          `rule "threshold:a>1.5": "a>1.5": "1.5" is no score from 0 to 1, as in defect>0.5`,
		"threshold:a>0.5,":         `rule "threshold:a>0.5,": "" has no limit: write label>score, as in defect>0.5`,
		"threshold:a>0.5,a>=0.600": `rule "threshold:a>0.5,a>=0.600": "a" has two limits: a>0.5 and a>=0.600; keep one`,
	} {
		if _, err := Parse(in); err == nil || err.Error() != want {
			t.Errorf("%q gave\n%v, want\n%s", in, err, want)
		}
	}
}

func TestLoadSaysWhatIsWrong(t *testing.T) {
	e := newEngine(t, Config{CacheDir: cacheDir})
	missing := filepath.Join(t.TempDir(), "my.wasm")
	for spec, want := range map[Spec]string{
		{Module: missing}:                         missing + ": there is no such file; write threshold:",
		{Module: t.TempDir()}:                     "is a directory",
		{Module: Threshold, Params: "x"}:          `parameters "x": "x" has no limit`,
		{Module: "engine.go"}:                     "no WebAssembly module",
		{Module: Threshold, Params: longParams()}: "the parameters have 70000 bytes, at most 65535 will do",
	} {
		if r, err := e.Load(t.Context(), spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+.60v gave %v, %v, want %q", spec, r, err, want)
		}
	}
}

func longParams() string { return strings.Repeat("x", 70000) }
