package infer

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// TestDamagedModels: bytes that were changed, cut, doubled or put elsewhere end
// in an error or in another description, at once.
func TestDamagedModels(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	models := [][]byte{}
	for _, name := range []string{"fastestdet", "rows", "slow", "external", "anomalib", "deployed", "uint8"} {
		models = append(models, testModel(t, name+".onnx"))
	}
	refused, slowest := 0, time.Duration(0)
	const count = 2000
	for n := range count {
		b := damaged(r, models[n%len(models)])
		began := time.Now()
		whole, err := Inline(b, func(string) ([]byte, error) { return make([]byte, 540), nil })
		if err == nil {
			b = whole
		}
		info, err := Describe(b)
		if err == nil {
			for _, f := range append(Families(), "") {
				_, _ = info.Spec(Options{Family: string(f), Width: 64, Height: 64}) // for its panics
			}
		} else {
			refused++
		}
		slowest = max(slowest, time.Since(began))
	}
	t.Logf("%d of %d were refused, the slowest took %v", refused, count, slowest)
	if refused < count/10 || slowest > 2*time.Second {
		t.Errorf("%d of %d were refused, the slowest took %v", refused, count, slowest)
	}
}

func damaged(r *rand.Rand, model []byte) []byte {
	b := append([]byte(nil), model...)
	for range 1 + r.IntN(3) {
		at := r.IntN(len(b))
		switch r.IntN(5) {
		case 0:
			b[at] ^= 1 << r.IntN(8)
		case 1:
			b[at] = byte(r.IntN(256))
		case 2:
			b = b[:at+1]
		case 3:
			b = append(b, b[at:]...)
		case 4:
			b = append(b[:at:at], b[min(at+1+r.IntN(8), len(b)-1):]...)
		}
	}
	return b
}

// TestMetadataThatCostTime: names that are made to be costly are refused, or
// read, at once.
func TestMetadataThatCostTime(t *testing.T) {
	many := func(n int) string {
		var b strings.Builder
		b.WriteByte('{')
		for i := range n {
			fmt.Fprintf(&b, "%d: 'κλάση %d 部品', ", i, i)
		}
		return b.String() + "}"
	}
	for name, c := range map[string]struct {
		names, want string // want "" for names that are read
	}{
		"10,000 classes":   {many(10_000), ""},
		"10,001 classes":   {many(10_001), "10001 classes: 1 to 10000"},
		"no class":         {"{}", "0 classes"},
		"brackets":         {strings.Repeat("[", 500_000), "nested too deeply"},
		"escapes":          {"{0: '" + strings.Repeat(`\U0001F600`, 50_000) + "'}", "the name of class 0 has 200000 bytes"},
		"blanks":           {strings.Repeat(" ", 900_000), "unexpected end"},
		"one long number":  {"{0: " + strings.Repeat("9", 500_000) + "}", "unknown value"},
		"keys of no class": {"{" + strings.Repeat("'a': 'b', ", 5000) + "}", "class number"},
		"program":          {"__import__('os').system('x')", "unknown value"},
	} {
		began := time.Now()
		info, err := Describe(onnxBytes(f32("images", 1, 3, 640, 640), f32("out", 1, 5, 8400), ultralyticsMeta("detect", c.names, "{}")))
		if c.want == "" && (err != nil || len(info.Labels) == 0) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %d labels, %v; want an error about %q", name, len(info.Labels), err, c.want)
		}
		if err != nil && len(err.Error()) > 400 {
			t.Errorf("%s: the error has %d bytes", name, len(err.Error()))
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("%s took %v", name, took)
		}
	}
	// Text beyond the limits is passed over: what is left isn't certain.
	meta := ultralyticsMeta("detect", "{0: '"+strings.Repeat("a", maxMetaText)+"'}", "{}")
	if info, err := Describe(onnxBytes(f32("images", 1, 3, 64, 64), f32("out", 1, 5, 84), meta)); err != nil || info.Labels != nil {
		t.Errorf("a megabyte of names: %.100q, %v", info.Labels, err)
	}
}

// TestNamesInOtherScripts: what a metadata's author wrote is what is told.
func TestNamesInOtherScripts(t *testing.T) {
	meta := ultralyticsMeta("detect", `{0: 'çizik', 1: '划痕', 2: "l'\\'éclat", 3: '\u05d7\u05e8\u05d9\u05e5', 4: '🔩'}`, "{}")
	info := describe(t, onnxBytes(f32("images", 1, 3, 640, 640), f32("out", 1, 9, 8400), meta))
	if got := strings.Join(info.Labels, " "); got != `çizik 划痕 l'\'éclat חריץ 🔩` {
		t.Errorf("labels are %s", got)
	}
}
