package gate

import (
	"testing"

	"github.com/sightline-edge/sightline/vision/infer"
)

const intel = `processor	: 0
model name	: Some CPU @ 2.40GHz
cpu MHz		: 2400.000
flags		: fpu avx2
processor	: 1
model name	: Some CPU @ 2.40GHz
cpu MHz		: 1800.123
flags		: fpu avx2
`

func TestFingerprintChangesWithWhatAnswersRestOn(t *testing.T) {
	base := infer.Info{Provider: "cpu", Precision: "float32", Runtime: "1.27.0"}
	first := fingerprint(base, "aa", intel)
	seen := map[string]string{first: "the first"}
	for name, c := range map[string]struct {
		change       func(*infer.Info)
		library, cpu string
	}{
		"runtime":   {func(i *infer.Info) { i.Runtime = "1.28.0" }, "aa", intel},
		"provider":  {func(i *infer.Info) { i.Provider = "cuda" }, "aa", intel},
		"precision": {func(i *infer.Info) { i.Precision = "float16" }, "aa", intel},
		"driver":    {func(i *infer.Info) { i.Driver = "560.1" }, "aa", intel},
		"gpu":       {func(i *infer.Info) { i.GPU = "Orin" }, "aa", intel},
		"engine":    {func(i *infer.Info) { i.Engine = "e1" }, "aa", intel},
		"rebuilt":   {func(i *infer.Info) { i.Engine = "e2" }, "aa", intel},
		"library":   {func(*infer.Info) {}, "bb", intel},
		"processor": {func(*infer.Info) {}, "aa", "CPU implementer	: 0x41\nCPU part	: 0xd0b\n"},
	} {
		i := base
		c.change(&i)
		f := fingerprint(i, c.library, c.cpu)
		if was, ok := seen[f]; ok {
			t.Errorf("%s has the fingerprint of %s", name, was)
		}
		seen[f] = name
	}
	again := base
	again.Library, again.Labels, again.Digest = "/elsewhere/libonnxruntime.so", []string{"a"}, "ff"
	if f := fingerprint(again, "aa", intel+"cpu MHz	: 900\n"); f != first {
		t.Error("clock, path or model changed the fingerprint")
	}
}

func TestFingerprintOfThisMachine(t *testing.T) {
	f := newFixture(t)
	info, err := f.subject(t, f.config(t)).Worker.Ready(t.Context())
	check(t, err)
	one, err := Fingerprint(info)
	check(t, err)
	two, err := Fingerprint(info)
	check(t, err)
	if one != two || len(one) != 32 {
		t.Errorf("%q, then %q", one, two)
	}
	info.Library = "/nowhere/libonnxruntime.so"
	if _, err := Fingerprint(info); err == nil {
		t.Error("a runtime that isn't there has a fingerprint")
	}
}
