package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/klauspost/compress/dict"
	"github.com/klauspost/compress/zstd"

	"github.com/sightline-edge/sightline/vision"
)

var train = flag.Bool("train", false, "train dictionary.v1.b64 anew; only before it is published")

// line is a made-up device: everything that its results have in common.
type line struct {
	rnd                           *rand.Rand
	station, line, camera         string
	label, model, digest          string
	rule, ruleDigest              string
	limit                         float64
	defects                       []string
	rate                          float64 // frames a second
	width, height                 float32
	now                           time.Time
	frame, part, period, inFrames uint64
}

func pick[T any](rnd *rand.Rand, of ...T) T { return of[rnd.IntN(len(of))] }

func newLine(seed uint64) *line {
	rnd := rand.New(rand.NewPCG(seed, 7))
	digest := func() string {
		b := make([]byte, 32)
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		return hex.EncodeToString(b)
	}
	l := &line{
		rnd: rnd, digest: digest(), ruleDigest: digest(),
		station: pick(rnd, "demo", "station1", "st-2", "press3", "weld-a", "line4-top", "inspect", "packing", fmt.Sprintf("s%d", rnd.IntN(40))),
		line:    pick(rnd, "", "A", "B", "line 4", "drawn", "L7", "north"),
		camera: pick(rnd, "rtsp://192.0.2.10/stream", "http://127.0.0.1:41234/camera", "rtsp://***@10.0.0.7:554/h264", "/dev/video0",
			"http://cam-2.local/mjpeg", "aravis://Basler-acA1300", "gst:nvarguscamerasrc ! appsink"),
		label:   pick(rnd, "part", "bottle", "cap", "pcb", "cookie", "spindle", "tray", "housing"),
		model:   pick(rnd, "drawn-parts", "yolox_nano", "pcb-v3", "caps", "surface", "mine"),
		defects: pick(rnd, []string{"scratch", "dent", "crack"}, []string{"missing_hole", "open_circuit", "short", "spur"}, []string{"pitting"}, []string{"stain", "chip", "burr", "missing"}),
		rate:    pick(rnd, 10.0, 15, 25, 30, 60), width: pick[float32](rnd, 640, 1280, 1920), height: pick[float32](rnd, 480, 720, 1080),
		limit: pick(rnd, 0.3, 0.5, 0.6, 0.25), now: time.Unix(1767225600+rnd.Int64N(1e8), rnd.Int64N(1e9)),
		frame: rnd.Uint64N(1e6), part: rnd.Uint64N(1e5), period: 10 + rnd.Uint64N(90), inFrames: 5 + rnd.Uint64N(50),
	}
	l.rule = fmt.Sprintf("threshold:%s>%g", pick(rnd, "defect", l.defects[0]), l.limit)
	return l
}

func (l *line) box(x, y, w, h float32) vision.Box {
	j := func() float32 { return float32(l.rnd.NormFloat64()) * 2 }
	return vision.Box{X: x + j(), Y: y + j(), W: w + j(), H: h + j()}
}

// next is the line's next result.
func (l *line) next() *Result {
	rnd := l.rnd
	step := l.period + rnd.Uint64N(10)
	l.frame += step
	l.part++
	l.now = l.now.Add(time.Duration(float64(step)/l.rate*1e9) + time.Duration(rnd.IntN(5e6)))
	frames := l.inFrames + rnd.Uint64N(4)
	at := func(back uint64) time.Time {
		return l.now.Add(-time.Duration(float64(back)/l.rate*1e9) - time.Duration(rnd.IntN(2e6)))
	}
	box := l.box(l.width*0.45, l.height*0.4, l.width*0.12, l.width*0.11)
	best := rnd.Uint64N(frames)
	p := vision.Part{
		ID: fmt.Sprintf("%s-%06d", l.station, l.part), Label: l.label, Score: 0.8 + rnd.Float32()*0.19, Box: box, Frames: int(frames),
		First: l.frame - frames, Last: l.frame, Best: l.frame - best, Seen: at(frames + 2), LastSeen: at(2), BestSeen: at(best + 2),
	}
	d := vision.Decision{Verdict: vision.Pass, Reason: "ok"}
	worst := 0.0
	for range pick(rnd, 0, 0, 0, 0, 1, 1, 2) {
		e := vision.Evidence{Label: pick(rnd, l.defects...), Score: float32(rnd.Float64()), Frames: 1 + rnd.IntN(int(frames)),
			Box: l.box(box.X+box.W/2, box.Y+box.H/3, 20, 18)}
		worst = max(worst, float64(e.Score))
		p.Defects = append(p.Defects, e)
		if d.Verdict == vision.Pass && float64(e.Score) > l.limit {
			d.Verdict, d.Reason = vision.Fail, fmt.Sprintf("%s %.2g > %g", e.Label, e.Score, l.limit)
		}
	}
	d.Measurements = []vision.Measurement{{Name: pick(rnd, "defect", l.defects[0]), Value: worst, Limit: l.limit}}
	r := NewResult(&p, &d, l.now)
	r.Station, r.Line, r.Camera, r.Attempt = l.station, l.line, l.camera, 1
	r.Model, r.ModelDigest, r.Rule, r.RuleDigest = l.model, l.digest, l.rule, l.ruleDigest
	return r
}

// batch is the line's next n results, numbered from first.
func (l *line) batch(t testing.TB, first uint64, n int) *Batch {
	b := &Batch{Epoch: l.rnd.Uint64()}
	for i := range uint64(n) {
		body, err := EncodeResult(l.next())
		if err != nil {
			t.Fatal(err)
		}
		b.Items = append(b.Items, Item{First: first + i, Last: first + i, Body: body})
	}
	return b
}

// TestDictionary trains the dictionary with -train; else it holds what the
// published one is for: a device's results shrink as much as was measured.
func TestDictionary(t *testing.T) {
	if *train {
		trainDictionary(t)
	}
	for _, c := range []struct {
		n    int
		most int // bytes an event
	}{{1, 270}, {10, 70}, {100, 38}} {
		sent, events := 0, 0
		for seed := range uint64(40) {
			b := newLine(1e6+seed).batch(t, 1, c.n) // none of the lines that it was trained on
			raw, err := EncodeBatch(b)
			if err != nil {
				t.Fatal(err)
			}
			sent += len(raw)
			events += c.n
		}
		t.Logf("%d a batch: %d bytes an event", c.n, sent/events)
		if sent/events > c.most {
			t.Errorf("%d a batch: %d bytes an event, at most %d were measured", c.n, sent/events, c.most)
		}
	}
}

func trainDictionary(t *testing.T) {
	var samples [][]byte
	for seed := range uint64(3000) {
		b := newLine(seed).batch(t, 1, 1+int(seed%6))
		items, _ := uncompressed(b)
		samples = append(samples, items)
	}
	d, err := dict.BuildZstdDict(samples, dict.Options{MaxDictSize: 8 << 10, HashBytes: 6, ZstdDictID: dictionaryID, ZstdLevel: zstd.SpeedBestCompression})
	if err != nil {
		t.Fatal(err)
	}
	text := base64.StdEncoding.EncodeToString(d)
	var out bytes.Buffer
	for chunk := range slices.Chunk([]byte(text), 120) {
		out.Write(chunk)
		out.WriteByte('\n')
	}
	if err := os.WriteFile("dictionary.v1.b64", out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Fatalf("dictionary.v1.b64 has %d bytes now; run the tests again", len(d))
}
