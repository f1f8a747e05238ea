package main

import (
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/vision"
)

// made is a station that never was: its results look as an agent writes them,
// and have names that no dictionary was trained on.
type made struct {
	rnd                            *rand.Rand
	station, line, camera          string
	run, part, model, rule         string
	modelDigest, ruleDigest        string
	faults                         []string
	rate, limit                    float64 // frames a second; score above which a part fails
	width, height, side            float64 // of the picture and of a part, pixels
	at                             time.Time
	frame, number, between, showed uint64 // frames from part to part, and that show one
}

// newMade is the seed's station; seeds differ in all that stays the same
// along a line.
func newMade(seed uint64) *made {
	rnd := rand.New(rand.NewPCG(seed, 0x5ea1))
	digest := func() string {
		b := make([]byte, 32)
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		return hex.EncodeToString(b)
	}
	of := func(all ...string) string { return all[rnd.IntN(len(all))] }
	m := &made{
		rnd: rnd, modelDigest: digest(), ruleDigest: digest(),
		station: of("hall2-gate", "kiln", "filler-07", "end-of-line", "robot3", "sorter"), line: of("", "South 2", "K4", "gearbox"),
		camera: of("rtsp://camera-11.plant.example:8554/main", "/dev/video2", "http://192.168.40.17/video.mjpg"),
		part:   of("valve", "rotor", "tile", "blister", "hinge", "lid"), model: of("valves-2026-03", "tile_s", "hinge.v12", "lids"),
		rate: []float64{12, 20, 24, 50}[rnd.IntN(4)], limit: []float64{0.35, 0.4, 0.55, 0.7}[rnd.IntN(4)],
		width: 1440, height: 1080, side: 120 + 200*rnd.Float64(), at: time.Unix(1790000000+rnd.Int64N(1e7), rnd.Int64N(1e9)),
		frame: rnd.Uint64N(1e7), number: rnd.Uint64N(1e6), between: 8 + rnd.Uint64N(60), showed: 4 + rnd.Uint64N(30),
	}
	m.faults = [][]string{{"porosity", "flash"}, {"glaze", "edge", "warp"}, {"leak"}, {"seal", "print", "foreign_body", "tilt"}}[rnd.IntN(4)]
	m.rule, m.run = fmt.Sprintf("threshold:fault>%g", m.limit), m.modelDigest[:6]
	return m
}

// near is a number that the tracker would give: x and a pixel or two.
func (m *made) near(x float64) float32 { return float32(x + 1.5*m.rnd.NormFloat64()) }

// frames is how long so many frames take, and what the camera's clock adds.
func (m *made) frames(n uint64) time.Duration {
	return time.Duration((float64(n)/m.rate + m.rnd.Float64()*0.003) * float64(time.Second))
}

// next is the record of the next part. As on the drawn belts with the shipped
// model, two in three have evidence, most of it weak; nothing in it comes at
// even times or places.
func (m *made) next() *wire.Result {
	step := m.between + m.rnd.Uint64N(m.between/2+1)
	showed := m.showed + m.rnd.Uint64N(5)
	best := m.rnd.Uint64N(showed)
	m.frame, m.number, m.at = m.frame+step, m.number+1, m.at.Add(m.frames(step))
	x, y := m.width*(0.3+0.4*m.rnd.Float64()), m.height*(0.4+0.02*m.rnd.NormFloat64())
	p := vision.Part{
		ID: fmt.Sprintf("%s-%d", m.run, m.number), Label: m.part, Score: float32(1 - math.Abs(m.rnd.NormFloat64())*0.01),
		Box:    vision.Box{X: m.near(x), Y: m.near(y), W: m.near(m.side), H: m.near(m.side * 0.8)},
		Frames: int(showed - m.rnd.Uint64N(2)), First: m.frame - showed + 1, Last: m.frame, Best: m.frame - best,
		LastSeen: m.at, BestSeen: m.at.Add(-m.frames(best)), Seen: m.at.Add(-m.frames(showed)),
	}
	d := vision.Decision{Verdict: vision.Pass, Reason: "ok"}
	worst := vision.Evidence{}
	for range []int{0, 0, 0, 1, 1, 1, 1, 2, 2, 3}[m.rnd.IntN(10)] {
		f := vision.Evidence{
			Label: m.faults[m.rnd.IntN(len(m.faults))], Score: 0.25 * m.rnd.Float32(), Frames: 1 + m.rnd.IntN(int(showed)),
			Box: vision.Box{X: m.near(x + m.side/3), Y: m.near(y + m.side/3), W: m.near(24), H: m.near(18)},
		}
		if m.rnd.IntN(4) == 0 {
			f.Score = 0.25 + 0.75*m.rnd.Float32()
		}
		p.Defects = append(p.Defects, f)
		if f.Score > worst.Score {
			worst = f
		}
	}
	value := math.Round(float64(worst.Score)*1e6) / 1e6
	if value > m.limit {
		d.Verdict, d.Reason = vision.Fail, fmt.Sprintf("%s %.3g > %g", worst.Label, value, m.limit)
	}
	d.Measurements = []vision.Measurement{{Name: "fault", Value: value, Limit: m.limit}}
	decided := m.at.Add(time.Duration(200e6 + m.rnd.Int64N(30e6)))
	r := wire.NewResult(&p, &d, decided)
	r.Station, r.Line, r.Camera, r.Attempt = m.station, m.line, m.camera, 1
	r.Model, r.ModelDigest, r.Rule, r.RuleDigest = m.model, m.modelDigest, m.rule, m.ruleDigest
	return r
}

// bodies are the next n records as the journal has them.
func (m *made) bodies(n int) ([][]byte, error) {
	all := make([][]byte, n)
	for i := range all {
		var err error
		if all[i], err = wire.EncodeResult(m.next()); err != nil {
			return nil, fmt.Errorf("make up a result: %w", err)
		}
	}
	return all, nil
}
