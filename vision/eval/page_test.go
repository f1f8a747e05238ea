package eval

import (
	"bytes"
	"fmt"
	"image"
	"math"
	"regexp"
	"strings"
	"testing"

	"image/color"
	"image/jpeg"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/coco"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/score"
)

// drawnRun measures a segmentation model on n drawn pictures of 320×180: every
// third is bad, with a pit that the model finds more or less.
func drawnRun(t testing.TB, n int, bad func(int) bool) *Report {
	t.Helper()
	const w, h = 320, 180
	var images, annotations []string
	for i := range n {
		state := "good"
		if bad(i) {
			state = "bad"
			x, y := 40+i*7%200, 30+i*5%90
			annotations = append(annotations, fmt.Sprintf(`{"id": %d, "image_id": %d, "category_id": 1, "bbox": [%d, %d, 40, 30], "area": 1200, "segmentation": [[%d,%d,%d,%d,%d,%d,%d,%d]]}`,
				i+1, i+1, x, y, x, y, x+40, y, x+40, y+30, x, y+30))
		}
		images = append(images, fmt.Sprintf(`{"id": %d, "file_name": "spindle/%03d.png", "width": %d, "height": %d, "state": %q, "place": "place %d"}`, i+1, i, w, h, state, i%3))
	}
	f, err := coco.Parse("annotations_val.json", fmt.Appendf(nil, `{"images": [%s], "annotations": [%s], "categories": [{"id": 1, "name": "pitting"}]}`, strings.Join(images, ","), strings.Join(annotations, ",")))
	if err != nil {
		t.Fatal(err)
	}
	run := New(f, Config{Spec: infer.Spec{Family: "segmentation", Labels: []infer.Label{{Name: "pitting", Role: vision.DefectRole}}}, Confidence: 0.5, FalseRejects: 0.01, Worst: 24})
	for i := range f.Images {
		if err := run.Add(drawnLook(f, &f.Images[i], i)); err != nil {
			t.Fatal(err)
		}
	}
	r, err := run.Report()
	if err != nil {
		t.Fatal(err)
	}
	r.Model, r.Runtime, r.Digest = "pitting", "ONNX Runtime 1.23.0, cpu, fp32", strings.Repeat("9f2c", 16)
	return r
}

func drawnLook(f *coco.File, img *coco.Image, i int) Look {
	frame := &vision.Frame{Pix: make([]byte, img.W*img.H*3), Width: img.W, Height: img.H, Stride: img.W * 3, Format: vision.BGR24}
	for p := range frame.Pix {
		frame.Pix[p] = byte(70 + i%4*20 + p%9)
	}
	m := &infer.ScoreMap{W: img.W, H: img.H, Data: make([]float32, img.W*img.H), StepX: 1, StepY: 1}
	s := float32(0.5 + 0.55*math.Sin(float64(i)*1.7))
	s = min(max(s*s*0.6, 0.001), 0.999)
	l := Look{Image: img, Frame: frame, Score: &s, Map: m}
	for _, a := range f.Of(img.ID) {
		s = min(0.35+0.65*s+float32(i%7)*0.06, 0.999)
		x, y := int(a.Box[0])+i%9, int(a.Box[1])+i%5
		for row := range 30 {
			for col := range 40 {
				at := (y+row)*img.W + x + col
				frame.Pix[3*at], frame.Pix[3*at+1], frame.Pix[3*at+2], m.Data[at] = 20, 25, 30, s
			}
		}
		if s >= 0.5 {
			l.Detections = append(l.Detections, vision.Detection{Label: "pitting", Score: s, Box: vision.Box{X: float32(x), Y: float32(y), W: 40, H: 30}, Mask: &vision.Mask{X: x, Y: y, W: 40, H: 30, Runs: []uint32{0, 1200}}})
		}
	}
	return l
}

func everyThird(i int) bool { return i%3 == 0 }

// written gives the page after the checks that every page must stand.
func written(t testing.TB, r *Report) string {
	t.Helper()
	var a, b bytes.Buffer
	if err := r.WriteHTML(&a); err != nil {
		t.Fatal(err)
	}
	if err := r.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	s := a.String()
	if s != b.String() {
		t.Error("two writes differ")
	}
	for _, bad := range []string{"NaN", "+Inf", "-Inf", "ZgotmplZ", "<script", "http://", "https://", "<nil>", "%!"} {
		if strings.Contains(s, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	for _, tag := range []string{"section", "table", "figure", "div", "dl", "svg", "details", "header", "main", "footer"} {
		open, shut := len(regexp.MustCompile("<"+tag+"[ >]").FindAllString(s, -1)), strings.Count(s, "</"+tag+">")
		if open != shut {
			t.Errorf("%d <%s> and %d </%s>", open, tag, shut, tag)
		}
	}
	return s
}

func TestPageAnswersInOrder(t *testing.T) {
	s := written(t, drawnRun(t, 60, everyThird))
	at := 0
	for _, want := range []string{"<h1><bdi>pitting", "60 pictures", "20 bad, 40 good", "escapes</dt>", "of 20 bad", "% at 95 %", "AU-PRO", "What a threshold costs",
		`role="img"`, "<desc", "model&#39;s own 0.5", "suggested", "found at fixed false rejects", "Before you rely", "the threshold was chosen on these very pictures",
		"Further figures", "strong and weak", "By brightness", "By place", "The worst pictures", "data:image/jpeg;base64,", "<footer>", `title="9f2c9f2c`, "annotations_val.json"} {
		n := strings.Index(s[at:], want)
		if n < 0 {
			t.Fatalf("%q is missing, or stands before what it should follow", want)
		}
		at += n
	}
}

func TestPageOfLittle(t *testing.T) {
	for name, r := range map[string]*Report{
		"one picture": drawnRun(t, 1, everyThird),
		"all bad":     drawnRun(t, 9, func(int) bool { return true }),
		"all good":    drawnRun(t, 9, func(int) bool { return false }),
		"empty":       {},
		"NaN":         {Operating: &Operating{F1: math.NaN(), Curve: []score.Point{{}}}, AP: ptr(math.NaN()), Classes: []Class{{AP: ptr(math.NaN())}, {}}},
	} {
		t.Run(name, func(t *testing.T) {
			s := written(t, r)
			if name != "NaN" && strings.Contains(s, "What a threshold costs") {
				t.Error("a threshold is told of pictures of one kind")
			}
			if strings.Contains(s, "<dl class=\"key\">\n</dl>") || strings.Contains(s, "<tbody></tbody>") {
				t.Error("there is a hole")
			}
		})
	}
}

func ptr(v float64) *float64 { return &v }

// TestHostileNames: file names and labels are other people's.
func TestHostileNames(t *testing.T) {
	evil := `<script>alert(1)</script>"' onerror=x ` + "\x1b[2J\u202e" + `缺陷 עברית`
	r := drawnRun(t, 30, everyThird)
	r.Model, r.Family, r.Truth, r.Runtime, r.Digest = evil, evil, "/tmp/"+evil, evil, evil
	r.Notes, r.Worst[0].Name, r.Worst[0].Why, r.Worst[0].State = []string{evil}, evil, evil, evil
	r.Classes = []Class{{Name: evil, Truths: 3, AP: ptr(0.5)}, {Name: "b", Truths: 9, AP: ptr(0)}}
	r.Slices[0].By, r.Slices[0].Rows[0].Name = evil, evil
	if s := written(t, r); strings.Count(s, "&lt;script&gt;") < 8 || !strings.Contains(s, "缺陷") || strings.Contains(s, `"' onerror`) {
		t.Error("names aren't escaped")
	}
	var b strings.Builder
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(b.String(), "\x1b\u202e\t") || !strings.Contains(b.String(), "缺陷") {
		t.Error("a name moves the cursor of the terminal")
	}
}

func TestTextStaysNarrow(t *testing.T) {
	r := drawnRun(t, 60, everyThird)
	r.Notes = []string{strings.Repeat("what a reader must know of the figures ", 9)}
	var b strings.Builder
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		line = strings.TrimSuffix(line, "\n")
		if n := len([]rune(line)); n > 120 || strings.HasSuffix(line, " ") {
			t.Errorf("%d columns: %q", n, line)
		}
	}
}

// TestLargeReports: 24 pictures, 1,200 classes and 10,000 points of a curve stay
// one page of less than 3 MB.
func TestLargeReports(t *testing.T) {
	r := drawnRun(t, 30, everyThird)
	scores, bad := make([]float64, 10000), make([]bool, 10000)
	for i := range scores {
		scores[i], bad[i] = math.Mod(float64(i)*0.61803398875, 1), i%7 == 0
	}
	c, err := score.NewCurve(scores, bad)
	if err != nil {
		t.Fatal(err)
	}
	r.curve, r.Operating.Curve = c, c.Points
	for i := range 1200 {
		r.Classes = append(r.Classes, Class{Name: fmt.Sprintf("class %d", i), Truths: i, AP: ptr(float64(i) / 1200), AP50: ptr(1)})
	}
	for len(r.Worst) < 24 {
		r.Worst = append(r.Worst, Shown{Name: "noise.png", State: "bad", Why: "noise", jpeg: noise(t)})
	}
	s := written(t, r)
	if len(s) > 3_000_000 {
		t.Errorf("the page has %d bytes", len(s))
	}
	if n := strings.Index(s, "class 1199<"); n < 0 || n > strings.Index(s, "class 3<") {
		t.Error("the class of which most is marked isn't first")
	}
	if !strings.Contains(s, "<summary>1181 more") || !strings.Contains(s, "class 0<") {
		t.Error("the other classes aren't folded away")
	}
}

// noise is a picture as hard to compress as the gallery's can be.
func noise(t testing.TB) []byte {
	img := image.NewGray(image.Rect(0, 0, shownSide, shownSide*3/4))
	for i := range img.Pix {
		img.Pix[i] = color.Gray{Y: byte(i * i >> 3)}.Y
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 80}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestStepsStandWhereThresholdsChange: what holds at a threshold holds down to the
// one before.
func TestStepsStandWhereThresholdsChange(t *testing.T) {
	c, err := score.NewCurve([]float64{0.2, 0.8}, []bool{false, true})
	if err != nil {
		t.Fatal(err)
	}
	a := axis{0, 1}
	if got, want := a.steps(c.Points, func(p score.Point) score.Share { return p.Escapes }).Line, "M0 100H800V0H1000"; got != want {
		t.Errorf("escapes go %s, not %s", got, want)
	}
	if got, want := a.steps(c.Points, func(p score.Point) score.Share { return p.FalseRejects }).Line, "M0 0H200V100H1000"; got != want {
		t.Errorf("false rejects go %s, not %s", got, want)
	}
}

func TestAxes(t *testing.T) {
	for _, c := range []struct{ low, high float64 }{{0.1, 0.9}, {0, 0}, {0.5, math.Nextafter(0.5, 1)}, {-30, 80}, {0.98123, 0.98125}, {0, 3e38}, {1e-9, 2e-9}, {7e6, 9e6}} {
		a := axisOf([]score.Point{{Threshold: c.low}, {Threshold: c.high}})
		ticks := a.ticks()
		if !(a.high > a.low) || len(ticks) < 2 || len(ticks) > 12 {
			t.Errorf("%v: axis %v with %d ticks", c, a, len(ticks))
		}
		seen := map[string]bool{}
		for _, m := range ticks {
			if seen[m.Label] || strings.Contains(m.At, "N") {
				t.Errorf("%v: tick %+v", c, m)
			}
			seen[m.Label] = true
		}
	}
}

func TestDigitsAreNeverFake(t *testing.T) {
	for v, want := range map[float64]string{0: "0.000", 1: "1.000", 0.99996: "0.99996", 0.00004: "0.00004", 0.3045: "0.304"} {
		if got := digits(v); got != want {
			t.Errorf("%v is told as %s, not %s", v, got, want)
		}
	}
}
