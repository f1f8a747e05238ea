package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/sightline-edge/sightline/agent"
	"github.com/sightline-edge/sightline/vision"
)

// partLine is what try prints of a part with --json.
type partLine struct {
	Kind       string     `json:"kind"` // part
	ID         string     `json:"id"`
	Label      string     `json:"label"`
	Verdict    string     `json:"verdict"`
	Reason     string     `json:"reason"`
	Score      float32    `json:"score"`
	Box        [4]float32 `json:"box"` // x, y, w, h in pixels of the best frame
	FirstFrame uint64     `json:"first_frame"`
	LastFrame  uint64     `json:"last_frame"`
	Picture    string     `json:"picture,omitempty"` // file name, of a folder's picture

	Regions []regionLine `json:"regions,omitempty"` // of models that give masks
}

// regionLine is what was seen of a defect in the part's best frame.
type regionLine struct {
	Label    string     `json:"label"`
	Score    float32    `json:"score"`
	Box      [4]float32 `json:"box"` // x, y, w, h in pixels
	Area     int        `json:"area_px,omitempty"`
	AreaMM2  float64    `json:"area_mm2,omitempty"`
	Outlines [][][2]int `json:"outlines,omitempty"` // closed polygons
}

// summaryLine is the last line that try prints with --json.
type summaryLine struct {
	Kind           string             `json:"kind"` // summary
	FramesCaptured uint64             `json:"frames_captured"`
	FramesInferred uint64             `json:"frames_inferred"`
	FramesDropped  uint64             `json:"frames_dropped"`
	FramesSame     uint64             `json:"frames_unchanged,omitempty"` // the change gate saw nothing new
	FramesFailed   uint64             `json:"frames_failed,omitempty"`
	Seconds        float64            `json:"seconds"` // first frame captured → last result
	FPS            float64            `json:"fps"`
	Parts          uint64             `json:"parts"`
	Verdicts       map[string]uint64  `json:"verdicts"`
	LatencyMS      map[string]float64 `json:"latency_ms"` // frame captured → its result
	ModelMS        map[string]float64 `json:"model_ms"`
	CPUSeconds     float64            `json:"cpu_seconds"`   // all our processes
	Cut            string             `json:"cut,omitempty"` // what the recording lacks at its end
}

// report prints parts and the summary, for people or as JSON Lines.
type report struct {
	out  io.Writer
	json bool
	save string
	file *os.File // results.jsonl in save
	err  error    // the first failed write
}

func newReport(out io.Writer, o *tryOptions) (*report, error) {
	r := &report{out: out, json: o.json, save: o.save}
	if o.save == "" {
		return r, nil
	}
	if err := os.MkdirAll(o.save, 0o755); err != nil {
		return nil, fmt.Errorf("save results: %w", err)
	}
	var err error
	if r.file, err = os.Create(filepath.Join(o.save, "results.jsonl")); err != nil {
		return nil, fmt.Errorf("save results: %w", err)
	}
	return r, nil
}

func (r *report) keep(err error) {
	if r.err == nil && err != nil {
		r.err = err
	}
}

// say prints a line for people; with --json there is none.
func (r *report) say(format string, args ...any) {
	if !r.json {
		_, err := fmt.Fprintf(r.out, format+"\n", args...)
		r.keep(err)
	}
}

// part prints one part; the recorder calls it in order.
func (r *report) part(i *agent.Inspection) {
	verdict, reason := told(i)
	p := &i.Part
	line := partLine{
		Kind: "part", ID: p.ID, Label: p.Label, Verdict: verdict.String(), Reason: reason, Score: p.Score,
		Box:        [4]float32{p.Box.X, p.Box.Y, p.Box.W, p.Box.H},
		FirstFrame: p.First, LastFrame: p.Last, Picture: p.Name,
	}
	seen := ""
	for _, e := range p.Defects {
		if e.Outlines == nil {
			continue
		}
		one := regionLine{Label: e.Label, Score: e.Score, Box: [4]float32{e.Box.X, e.Box.Y, e.Box.W, e.Box.H}, Area: e.Area, AreaMM2: i.AreaMM2(e), Outlines: e.Outlines}
		line.Regions = append(line.Regions, one)
		seen += one.text()
	}
	if r.json {
		r.keep(json.NewEncoder(r.out).Encode(line))
	}
	where := fmt.Sprintf("frames %d–%d", p.First, p.Last)
	if p.Name != "" {
		where = p.Name
	}
	r.say("%s  %-12s %-14s %4.2f  %s  %s%s", verdictText(verdict), p.ID, p.Label, p.Score, where, reason, seen)
	if r.file == nil {
		return
	}
	r.keep(json.NewEncoder(r.file).Encode(line))
	if i.Picture != nil {
		r.keep(os.WriteFile(filepath.Join(r.save, p.ID+"-"+verdict.String()+".jpg"), i.Picture, 0o644))
	}
}

// text is what people are told of a region: "  pitting 0.97, 1204 px²".
func (e regionLine) text() string {
	if e.Area == 0 {
		return ""
	}
	s := fmt.Sprintf("  %s %.2f, %d px²", e.Label, e.Score, e.Area)
	if e.AreaMM2 > 0 {
		s += fmt.Sprintf(" (%.3g mm²)", e.AreaMM2)
	}
	return s
}

// verdictText differs in shape as well as in word.
func verdictText(v vision.Verdict) string {
	switch v {
	case vision.Pass:
		return "✓ PASS"
	case vision.Fail:
		return "✗ FAIL"
	}
	return "– NONE"
}

func (r *report) summary(f agent.Figures, cpu time.Duration) error {
	d := f.Camera.Dropped
	s := summaryLine{
		Kind: "summary", FramesCaptured: f.Camera.Captured, FramesInferred: f.Inferred,
		FramesDropped: d.Total(), FramesFailed: f.Lost, FramesSame: f.Unchanged,
		Seconds: f.Last.Sub(f.First).Seconds(),
		Verdicts: map[string]uint64{
			"PASS": f.Parts[vision.Pass], "FAIL": f.Parts[vision.Fail], "NONE": f.Parts[vision.None],
		},
		LatencyMS:  map[string]float64{"p50": ms(f.AgeP50), "p99": ms(f.AgeP99)},
		ModelMS:    map[string]float64{"p50": ms(f.ModelP50), "p99": ms(f.ModelP99)},
		CPUSeconds: cpu.Seconds(), Cut: f.Camera.Cut,
	}
	s.Parts = f.Parts[vision.Pass] + f.Parts[vision.Fail] + f.Parts[vision.None]
	if s.Seconds > 0 {
		s.FPS = float64(s.FramesInferred+s.FramesSame) / s.Seconds
	}
	if r.json {
		r.keep(json.NewEncoder(r.out).Encode(s))
		return r.err
	}
	r.say("\n%d parts: %d PASS, %d FAIL, %d NONE (no decision, rejected)", s.Parts, s.Verdicts["PASS"], s.Verdicts["FAIL"], s.Verdicts["NONE"])
	r.say("%d frames captured, %d inspected, %d dropped, in %.1f s: %.1f a second", s.FramesCaptured, s.FramesInferred, s.FramesDropped, s.Seconds, s.FPS)
	r.say("model p50 %.1f ms, p99 %.1f ms; captured → result p50 %.1f ms, p99 %.1f ms; %.1f s of processor time",
		ms(f.ModelP50), ms(f.ModelP99), ms(f.AgeP50), ms(f.AgeP99), s.CPUSeconds)
	if s.FramesSame > 0 {
		r.say("%d more showed nothing new: the last result stood for them", s.FramesSame)
	}
	if s.FramesFailed > 0 {
		r.say("%d frames got no result: the model failed on them", s.FramesFailed)
	}
	if s.Cut != "" {
		r.say("the recording is cut: %s", s.Cut)
	}
	return r.err
}

func (r *report) close() error {
	if r.file != nil {
		r.keep(r.file.Close())
	}
	if r.err != nil {
		return errors.Join(errors.New("print the results"), r.err)
	}
	return nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
