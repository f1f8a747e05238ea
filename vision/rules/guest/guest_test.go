package guest

import (
	"encoding/hex"
	"strings"
	"testing"
)

// TestAnswerLayout: the published layout, which never changes while Version
// is 1. What the host makes of it is tested there.
func TestAnswerLayout(t *testing.T) {
	a := Answer{Verdict: Fail, Reason: "dent", Measurements: []Measurement{{Name: "w", Value: 1.5, Limit: 2, Unit: "mm"}}}
	const want = "ff" + "0100" + "02" + "01" + "0400" + "64656e74" + "000000000000f83f" + "0000000000000040" + "0100" + "77" + "0200" + "6d6d"
	if got := hex.EncodeToString(Append([]byte{0xff}, &a)); got != want {
		t.Errorf("the answer is laid out as\n%s, want\n%s", got, want)
	}
}

func TestAppendLimits(t *testing.T) {
	for in, want := range map[string]string{
		"":                             "",
		"tab\there":                    "tab here",
		"\x7f\u0085":                   "  ",
		strings.Repeat("x", 201):       strings.Repeat("x", 200),
		"a" + strings.Repeat("é", 100): "a" + strings.Repeat("é", 99),
		"\xff":                         "\ufffd",
	} {
		b := Append(nil, &Answer{Reason: in})
		if got := string(b[6:]); got != want || int(b[4]) != len(want) {
			t.Errorf("%q became %q with the length %d, want %q", in, got, b[4], want)
		}
	}
	b := Append(nil, &Answer{Measurements: make([]Measurement, 100)})
	if b[3] != MaxMeasurements || len(b) != 6+MaxMeasurements*(measurementSize+4) {
		t.Errorf("%d measurements in %d bytes", b[3], len(b))
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := make([]byte, headerSize+2)
	good[0], good[4] = Version, byte(len(good))
	var p Part
	const view = "0000" + "01000000" + "01000000" // without a name
	views := func(b []byte, text string) []byte {
		more, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		b = append(b, more...)
		b[4] = byte(len(b))
		return b
	}
	evidence := func(b []byte) []byte {
		b[2] = 1
		return append(b, make([]byte, evidenceSize)...)
	}
	for _, b := range [][]byte{good, // and what a later host may say
		views(append([]byte{}, good...), "0000"+strings.Repeat("00", 22)+"ffff"+"1234"),
		views(evidence(append([]byte{}, good...)), "0100"+strings.Repeat("00", 22)+"ffff"+view+"0000"+"1234")} {
		if err := Decode(b, &p); err != nil {
			t.Fatal(err)
		}
	}
	for name, change := range map[string]func(b []byte) []byte{
		"empty":             func([]byte) []byte { return nil },
		"another version":   func(b []byte) []byte { b[0] = 2; return b },
		"cut":               func(b []byte) []byte { return b[:len(b)-1] },
		"size too small":    func(b []byte) []byte { b[4] = 3; return b },
		"size too large":    func(b []byte) []byte { b[4]++; return b },
		"evidence missing":  func(b []byte) []byte { b[2] = 1; return b },
		"label past end":    func(b []byte) []byte { b[headerSize] = 1; return b },
		"head of views cut": func(b []byte) []byte { return views(b, "02") },
		"no views' bytes":   func(b []byte) []byte { return views(b, "0200"+strings.Repeat("00", 22)+"ffff") },
		"65535 views":       func(b []byte) []byte { return views(b, "ffff"+strings.Repeat("00", 22)+"ffff"+view) },
		"view's name cut":   func(b []byte) []byte { return views(b, "0100"+strings.Repeat("00", 22)+"ffff"+"0900"+view) },
		"view's size cut":   func(b []byte) []byte { return views(b, "0100"+strings.Repeat("00", 22)+"ffff"+"0100"+view[4:]) },
		"whose cut":         func(b []byte) []byte { return views(evidence(b), "0100"+strings.Repeat("00", 22)+"ffff"+view+"00") },
		"of no view":        func(b []byte) []byte { return views(evidence(b), "0100"+strings.Repeat("00", 22)+"ffff"+view+"0100") },
		"65535 evidence":    func(b []byte) []byte { b[2], b[3] = 0xff, 0xff; return b },
		"evidence's label": func(b []byte) []byte {
			b = append(b, make([]byte, evidenceSize)...)
			b[2], b[4], b[len(b)-2] = 1, byte(len(b)), 9
			return b
		},
	} {
		if err := Decode(change([]byte(string(good))), &p); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestDescribe(t *testing.T) {
	for _, tt := range []struct {
		clause string
		score  float32
		want   string
	}{
		{"defect>0.5", 0.91, "scratch 0.91 > 0.5"},
		{"defect>0.5", 0.91349, "scratch 0.913 > 0.5"},
		{"defect>0.5", 0.5000001, "scratch 0.5000001 > 0.5"},
		{"defect>=0.70", 0.7, "scratch 0.7 >= 0.70"},
		{"defect>=0.9999", 0.99991, "scratch 1 >= 0.9999"},
		{"defect > 0", 0.00001, "scratch 0.00001 > 0"},
	} {
		list, err := ParseClauses(tt.clause)
		if err != nil {
			t.Fatal(err)
		}
		if got := list[0].Describe("scratch", tt.score); got != tt.want {
			t.Errorf("%s of %v is %q, want %q", tt.clause, tt.score, got, tt.want)
		}
	}
}

func TestHolds(t *testing.T) {
	for _, tt := range []struct {
		clause string
		score  float32
		want   bool
	}{
		{"a>0.7", 0.7, false}, {"a>0.7", 0.7000001, true}, {"a>=0.7", 0.7, true}, {"a>=0.7", 0.6999999, false}, {"a>0", 0, false},
	} {
		list, err := ParseClauses(tt.clause)
		if err != nil {
			t.Fatal(err)
		}
		c := list[0]
		if got := c.Holds(tt.score); got != tt.want || !c.Names("a") || c.Names("b") {
			t.Errorf("%s of %v is %v", tt.clause, tt.score, got)
		}
	}
}

// FuzzParseClauses: what is understood reads the same when it is written again.
func FuzzParseClauses(f *testing.F) {
	for _, s := range []string{"defect>0.5", "a>=1, b > 0", ">", "a>b>0.1", "a>0x1p-2", ","} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		list, err := ParseClauses(s)
		if err != nil {
			return
		}
		var texts []string
		for _, c := range list {
			if !(c.Limit >= 0 && c.Limit <= 1) || c.Label == "" {
				t.Errorf("%q gave %+v", s, c)
			}
			texts = append(texts, c.String())
		}
		again, err := ParseClauses(strings.Join(texts, ","))
		if err != nil || len(again) != len(list) {
			t.Fatalf("%q gave %q, and that %v, %v", s, texts, again, err)
		}
		for i := range list {
			if again[i] != list[i] {
				t.Errorf("%+v came back as %+v", list[i], again[i])
			}
		}
	})
}
