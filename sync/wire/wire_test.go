package wire

import (
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/sightline-edge/sightline/vision"
)

var update = flag.Bool("update", false, "write goldens that are missing")

var (
	first   = time.Date(2026, 3, 1, 6, 0, 0, 123456000, time.UTC)
	last    = first.Add(400 * time.Millisecond)
	decided = last.Add(31 * time.Millisecond)
)

func somePart() vision.Part {
	return vision.Part{
		ID: "01J9-7", Label: "bottle", Score: 0.875, Box: vision.Box{X: 1.5, Y: 2, W: 30, H: 40},
		Defects: []vision.Evidence{{Label: "scratch", Score: 0.75, Frames: 3, Box: vision.Box{X: 4, Y: 5, W: 6, H: 7}}},
		Frames:  12, First: 100, Last: 111, Best: 105, Seen: first, LastSeen: last,
	}
}

func someDecision() vision.Decision {
	return vision.Decision{Verdict: vision.Fail, Reason: "scratch 0.75 > 0.5",
		Measurements: []vision.Measurement{{Name: "defect", Value: 0.75, Limit: 0.5}, {Name: "gap", Value: 2.25, Limit: 3, Unit: "mm"}}}
}

func someResult() *Result {
	p, d := somePart(), someDecision()
	r := NewResult(&p, &d, decided)
	r.Station, r.Line, r.Camera = "st1", "line 4", "cam-a"
	r.Model, r.ModelDigest = "parts", strings.Repeat("ab", 32)
	r.Rule, r.RuleDigest = "threshold:defect>0.5", strings.Repeat("cd", 32)
	r.Attempt = 1
	for _, t := range []*int64{&r.FirstCaptured, &r.LastCaptured, &r.Decided} {
		*t += 789 // as it was published, before times were whole microseconds
	}
	return r
}

// TestGoldens: what was published decodes to the same for ever, and is still
// what we write. A change of meaning adds a file.
func TestGoldens(t *testing.T) {
	late := someResult()
	late.Verdict, late.Reason = Verdict_VERDICT_PASS, "ok"
	late.Told = &Answer{Verdict: Verdict_VERDICT_NONE, Reason: vision.ReasonNotRecorded}
	for name, want := range map[string]*Record{
		"result.v1": {Kind: &Record_Result{Result: someResult()}},
		"late.v1":   {Kind: &Record_Result{Result: late}},
		"told.v1": {Kind: &Record_Told{Told: &Told{Seq: 1 << 40, At: decided.UnixNano() + 789,
			Answer: &Answer{Verdict: Verdict_VERDICT_NONE, Reason: vision.ReasonNotRecorded}}}},
		"empty.v1": {Kind: &Record_Result{Result: &Result{}}},
	} {
		path := filepath.Join("testdata", name+".hex")
		b, err := Encode(want)
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) && *update {
			text = []byte(hex.EncodeToString(b) + "\n")
			err = os.WriteFile(path, text, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		golden, err := hex.DecodeString(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(golden)
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" || err != nil {
			t.Errorf("%s decodes to %v (-want +got):\n%s", name, err, diff)
		}
		if string(b) != string(golden) {
			t.Errorf("%s is now written as\n%x, want\n%x", name, b, golden)
		}
	}
}

func TestThereAndBack(t *testing.T) {
	part, decision := somePart(), someDecision()
	part.Seen = part.Seen.Add(789) // of which whole microseconds are kept
	b, err := EncodeResult(NewResult(&part, &decision, decided.Add(999)))
	if err != nil {
		t.Fatal(err)
	}
	r, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(somePart(), r.GetResult().Part()); diff != "" {
		t.Errorf("part (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(someDecision(), r.GetResult().Decision()); diff != "" {
		t.Errorf("decision (-want +got):\n%s", diff)
	}
	if got := time.Duration(r.GetResult().GetLatency()); got != 31*time.Millisecond {
		t.Errorf("latency is %v", got)
	}
	if !Time(r.GetResult().GetDecided()).Equal(decided) {
		t.Errorf("decided at %v", Time(r.GetResult().GetDecided()))
	}
	var zero vision.Part
	if got := NewResult(&zero, &vision.Decision{}, decided).Part(); !cmp.Equal(got, zero) {
		t.Errorf("the zero part became %+v", got)
	}
}

// TestOddTexts: a label that is no UTF-8 doesn't keep a verdict off the record.
func TestOddTexts(t *testing.T) {
	const odd = "a\xff"
	p := vision.Part{ID: odd, Label: odd, Defects: []vision.Evidence{{Label: odd}}, Frames: -1}
	d := vision.Decision{Reason: odd, Measurements: []vision.Measurement{{Name: odd, Unit: odd}}}
	b, err := EncodeResult(NewResult(&p, &d, decided))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(string(b), "a\ufffd"); got != 6 {
		t.Errorf("%d of 6 texts were mended", got)
	}
	if _, err := EncodeResult(&Result{Station: odd}); err == nil {
		t.Error("a station's name that is no UTF-8 was encoded")
	}
	if _, err := EncodeResult(&Result{Reason: strings.Repeat("x", MaxRecord)}); err == nil || !strings.Contains(err.Error(), "at most 1048576") {
		t.Errorf("a record too long gave %v", err)
	}
}

func TestAnswered(t *testing.T) {
	r := &Result{Verdict: Verdict_VERDICT_PASS, Reason: "ok"}
	own := &Result{Verdict: Verdict_VERDICT_PASS, Reason: "ok", Told: &Answer{Reason: "late"}}
	told := &Told{Answer: &Answer{Verdict: Verdict_VERDICT_FAIL, Reason: "by hand"}}
	for _, tt := range []struct {
		r       *Result
		told    *Told
		verdict vision.Verdict
		reason  string
	}{
		{r, nil, vision.Pass, "ok"}, {own, nil, vision.None, "late"}, {own, told, vision.Fail, "by hand"}, {r, &Told{}, vision.Pass, "ok"},
	} {
		if v, reason := tt.r.Answered(tt.told); v != tt.verdict || reason != tt.reason {
			t.Errorf("%v with %v gave %v %q", tt.r, tt.told, v, reason)
		}
	}
}

func TestVerdicts(t *testing.T) {
	for _, v := range []vision.Verdict{vision.None, vision.Pass, vision.Fail} {
		if got := NewVerdict(v).Vision(); got != v {
			t.Errorf("%v became %v", v, got)
		}
	}
	if NewVerdict(9) != Verdict_VERDICT_NONE || Verdict(9).Vision() != vision.None || Verdict(-1).Vision() != vision.None {
		t.Error("an unknown verdict is something else than NONE")
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, b := range map[string][]byte{"empty": nil, "unknown kind": {0x7a, 0}, "cut": {0x0a, 5, 1}, "text": []byte("hello"), "long": make([]byte, MaxRecord+1)} {
		r, err := Decode(b)
		if err == nil || errors.Is(err, ErrKind) != (name == "empty" || name == "unknown kind") {
			t.Errorf("%s gave %v, %v", name, r, err)
		}
	}
}

// FuzzDecode: any bytes give an error or a record that can be read and
// written again.
func FuzzDecode(f *testing.F) {
	b, err := EncodeResult(someResult())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	if b, err = EncodeResult(seenResult()); err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Decode(b)
		if err != nil {
			return
		}
		if res := r.GetResult(); res != nil {
			p, d := res.Part(), res.Decision()
			if NewVerdict(d.Verdict).Vision() != d.Verdict || len(p.Defects) != len(res.GetEvidence()) {
				t.Errorf("%v became %v, %v", res, p, d)
			}
			for _, e := range p.Defects {
				if e.View < 0 || e.View > 0 && e.View >= len(p.Views) {
					t.Errorf("evidence of view %d of %d", e.View, len(p.Views))
				}
			}
			res.Answered(r.GetTold())
		}
		again, err := Encode(r)
		if err != nil {
			if len(b) > MaxRecord/2 {
				return // written in full it may be longer than it was
			}
			t.Fatal(err)
		}
		back, err := Decode(again)
		if err != nil || !proto.Equal(r, back) {
			if string(again) != mustEncode(t, back) { // NaN is not equal to itself
				t.Errorf("%v came back as %v, %v", r, back, err)
			}
		}
	})
}

func mustEncode(t *testing.T, r *Record) string {
	b, err := Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestGeneratedIsFresh compiles record.proto where protoc is, and compares
// all but the line that names protoc's version.
func TestGeneratedIsFresh(t *testing.T) {
	if _, err := exec.LookPath("protoc"); err != nil && os.Getenv("PROTOC") == "" {
		t.Skip("left out: protoc is not here (Debian's protobuf-compiler; or PROTOC names it)")
	}
	dir := t.TempDir()
	if out, err := exec.Command("./generate.sh", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	version := regexp.MustCompile(`(?m)^// \s*protoc +v.*$`)
	var texts [2]string
	for i, path := range []string{"record.pb.go", filepath.Join(dir, "record.pb.go")} {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		texts[i] = version.ReplaceAllString(string(b), "")
	}
	if diff := cmp.Diff(texts[0], texts[1]); diff != "" {
		t.Errorf("record.pb.go is stale, run go generate ./sync/wire (-have +want):\n%s", diff)
	}
}
