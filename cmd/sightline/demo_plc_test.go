package main

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

// at is a moment of the tests' own clock.
func at(ms int) time.Time { return time.Unix(1000, 0).Add(time.Duration(ms) * time.Millisecond) }

// A belt goes on over its ramp when its motor is off, then stands for as long as it is off.
func TestConveyorStops(t *testing.T) {
	c := &conveyor{speed: 2}
	for _, s := range []struct {
		ms     int
		on     bool
		want   float64 // ms of the belt then, before the motor is switched
		stands bool
	}{
		{0, false, 0, true}, {5000, true, 0, true}, {5100, true, 2 * 25, false}, {5200, true, 2 * 100, false},
		{6200, false, 2 * 1100, false}, {6300, false, 2 * 1175, false}, {6400, false, 2 * 1200, true},
		{3_600_000, true, 2 * 1200, true}, {3_600_100, false, 2 * 1225, false}, {3_700_000, true, 2 * 1250, true},
	} {
		got, stands := c.move(at(s.ms))
		if math.Abs(got-s.want) > 1e-6 || stands != s.stands {
			t.Errorf("after %d ms it has come %v ms, stands: %v; want %v, %v", s.ms, got, stands, s.want, s.stands)
		}
		c.motor(at(s.ms), s.on)
	}
}

// A standing belt's pictures are of the same place and have no two alike in a row:
// else the camera would be taken for frozen. Light barrier and gate stand where they
// are said to.
func TestConveyorsPictures(t *testing.T) {
	c, err := newConveyor(3, 1)
	if err != nil {
		t.Fatal(err)
	}
	f, last := c.scene.NewFrame(), []byte(nil)
	for n := range 6 {
		if err := c.Frame(n, f); err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(f.Pix, last) {
			t.Errorf("picture %d is the same as the one before", n)
		}
		if f.Seq > trembles {
			t.Errorf("the belt moved by %d ms, and its motor is off", f.Seq)
		}
		last = bytes.Clone(f.Pix)
	}
	before := 0.0
	for n := range 40 {
		barrier, gate := c.barrier(n), c.gate(n)
		if barrier <= before || gate <= barrier {
			t.Errorf("part %d breaks the barrier at %v ms, after %v, and is at the gate at %v", n, barrier, before, gate)
		}
		before = barrier
		for _, p := range c.scene.Truth(int(barrier)) {
			if p.Part.Index == n && math.Abs(float64(p.Box.X+p.Box.W/2)-384) > 1 {
				t.Errorf("part %d breaks the barrier at %v", n, p.Box)
			}
		}
	}
}

// rig is a program with a door that the test plays.
type rig struct {
	*plcProgram
	gate rejectGate
	ms   int
	door doorSays
}

// running is a rig whose belt has been started.
func running(t *testing.T) *rig {
	t.Helper()
	r := &rig{plcProgram: &plcProgram{every: 200 * time.Millisecond, patience: 150 * time.Millisecond}}
	pulsed := false
	for range 200 {
		if r.tick(); r.run {
			if !pulsed {
				t.Fatal("the belt runs, and Restart wasn't pulsed")
			}
			return r
		}
		pulsed = pulsed || r.control == coilRestart
	}
	t.Fatal("the belt doesn't start")
	return nil
}

// tick lets 10 ms pass at a door that is online and ready, and beats.
func (r *rig) tick() {
	r.ms += 10
	r.door.status |= isOnline | isReady
	r.door.beat = uint16(r.ms / 200)
	in := r.door
	r.scan(at(r.ms), &in)
	r.watch(at(r.ms))
	if r.control&coilTrigger != 0 && r.door.status&hasAccepted == 0 {
		r.door.status |= hasAccepted
		r.door.accepted++
	} else if r.control&coilTrigger == 0 {
		r.door.status &^= hasAccepted
	}
	if r.control&coilAck != 0 {
		r.door = doorSays{status: r.door.status &^ (hasResult | hasPass), beat: r.door.beat, accepted: r.door.accepted}
	}
}

// inspect brings part n to the barrier and through its handshake.
func (r *rig) inspect(n int) *onBelt {
	r.arrive(at(r.ms), n)
	p := r.parts[len(r.parts)-1]
	for range 5 {
		r.tick()
	}
	return p
}

// show lets a result stand at the door until it is fetched.
func (r *rig) show(s doorSays) {
	r.door.status |= hasResult | s.status
	if s.verdict == vision.Pass {
		r.door.status |= hasPass
	}
	r.door.trigger, r.door.part, r.door.number, r.door.verdict = s.trigger, s.part, s.number, s.verdict
	r.tick()
	r.door.status &^= isRepetition
	r.tick()
}

// The gate opens for a part whose own result says PASS, and for nothing else.
func TestGateOpensForItsOwnPassAlone(t *testing.T) {
	own := doorSays{trigger: "t7", part: "part-7", number: 1, verdict: vision.Pass}
	with := func(change func(*doorSays)) func(*rig, *onBelt) {
		return func(r *rig, _ *onBelt) {
			s := own
			change(&s)
			r.show(s)
		}
	}
	for name, c := range map[string]struct {
		before func(*rig, *onBelt)
		passes bool
	}{
		"own PASS":             {with(func(*doorSays) {}), true},
		"FAIL":                 {with(func(s *doorSays) { s.verdict = vision.Fail }), false},
		"NONE":                 {with(func(s *doorSays) { s.verdict = vision.None }), false},
		"nothing":              {func(*rig, *onBelt) {}, false},
		"another part's":       {with(func(s *doorSays) { s.part = "part-8" }), false},
		"another trigger's":    {with(func(s *doorSays) { s.trigger = "t8" }), false},
		"nobody's":             {with(func(s *doorSays) { s.part, s.trigger = "", "" }), false},
		"another number's":     {with(func(s *doorSays) { s.number = 2 }), false},
		"a repetition":         {with(func(s *doorSays) { s.status = isRepetition }), false},
		"given up":             {func(r *rig, p *onBelt) { p.lost = lostMissing; r.show(own) }, false},
		"a FAIL, then a PASS":  {func(r *rig, _ *onBelt) { s := own; s.verdict = vision.Fail; r.show(s); r.show(own) }, false},
		"the connection ended": {func(r *rig, _ *onBelt) { r.scan(at(r.ms), nil) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := running(t)
			p := r.inspect(7)
			if !p.accepted || p.number != 1 {
				t.Fatalf("the handshake wasn't done: %+v", p)
			}
			next := r.inspect(8)
			c.before(r, p)
			if r.leave(at(r.ms), &r.gate); p.passed != c.passes {
				t.Errorf("it passed: %v", p.passed)
			}
			if r.leave(at(r.ms), &r.gate); next.passed {
				t.Error("the part behind it passed")
			}
		})
	}
}

// Whatever a door says, in any order: a part passes only if a PASS with its own IDs
// stood there after its trigger.
func TestGateAgainstAnyDoor(t *testing.T) {
	passed := 0
	for seed := range uint64(1000) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		r, arrived := running(t), 0
		shown := map[string]bool{} // parts whose PASS stood
		for range 300 {
			switch k := rnd.IntN(20); {
			case k < 3:
				r.arrive(at(r.ms), arrived)
				arrived++
			case k < 5 && len(r.way) > 0:
				p := r.leave(at(r.ms), &r.gate)
				if p.passed && !shown[p.id] {
					t.Fatalf("seed %d: %+v passed", seed, p)
				}
				if p.passed {
					passed++
				}
			case k < 12 && arrived > 0:
				p := r.parts[rnd.IntN(arrived)]
				s := doorSays{trigger: p.trigger, part: p.id, number: p.number, verdict: vision.Verdict(rnd.IntN(3))}
				if rnd.IntN(4) == 0 {
					s.part = r.parts[rnd.IntN(arrived)].id
				}
				if s.verdict == vision.Pass && s.part == p.id && p.asked {
					shown[p.id] = true
				}
				r.show(s)
			case k == 12:
				r.scan(at(r.ms), nil)
			case k == 13:
				r.ms += rnd.IntN(900)
				r.watch(at(r.ms))
			default:
				r.tick()
			}
		}
	}
	if t.Logf("%d parts passed", passed); passed < 500 {
		t.Error("hardly any part passed")
	}
}

// The belt stops at each of the three signs that nobody inspects.
func TestBeltStopsWithoutInspection(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(*rig)
		want string
	}{
		"heart stands still": {func(r *rig) {
			in := r.door
			for range 70 { // the connection lives
				r.ms += 10
				r.scan(at(r.ms), &in)
				r.watch(at(r.ms))
			}
		}, "heartbeat"},
		"door is gone": {func(r *rig) { r.scan(at(r.ms), nil); r.arrive(at(r.ms), 1) }, "doesn't answer"},
		"door hangs":   {func(r *rig) { r.ms += 300; r.arrive(at(r.ms), 1) }, "hasn't answered"},
		"offline":      {func(r *rig) { in := r.door; in.status = isReady; r.scan(at(r.ms), &in); r.arrive(at(r.ms), 1) }, "isn't online"},
		"not ready":    {func(r *rig) { in := r.door; in.status = isOnline; r.scan(at(r.ms), &in); r.arrive(at(r.ms), 1) }, "isn't ready"},
		"no result":    {func(r *rig) { r.inspect(1); r.leave(at(r.ms), &r.gate) }, "no result"},
		"trigger late": {func(r *rig) {
			r.arrive(at(r.ms), 1)
			in := r.door
			in.status = isOnline
			for range 20 {
				r.ms += 10
				r.scan(at(r.ms), &in)
			}
		}, "gone by"},
	} {
		t.Run(name, func(t *testing.T) {
			r := running(t)
			c.do(r)
			if r.run || !strings.Contains(r.why, c.want) {
				t.Errorf("runs: %v, because %q", r.run, r.why)
			}
			for _, p := range r.parts {
				if p.good() {
					t.Errorf("%+v counts as good", p)
				}
			}
			for range 200 {
				r.tick()
			}
			if !r.run {
				t.Error("it doesn't start again")
			}
			for _, p := range r.way {
				if p.lost == "" {
					t.Errorf("%+v still waits for a result", p)
				}
			}
		})
	}
}

// What was written is what docs/plc.md asks for.
func TestOutputsOfTheController(t *testing.T) {
	r := running(t)
	r.arrive(at(r.ms), 12)
	r.tick()
	out := r.outputs()
	if out[0] != coilTrigger || unpackID(out[16:48]) != "t12" || unpackID(out[48:80]) != "part-12" || out[48] != 'p'<<8|'a' {
		t.Errorf("%v", out)
	}
	in := make([]uint16, doorInputs)
	in[0], in[8] = hasResult, 1 // PASS in the register and not in the status
	packID(in[16:48], "t12")
	if s := readDoor(in); s.verdict != vision.None || s.trigger != "t12" {
		t.Errorf("%+v", s)
	}
	in[0] |= hasPass
	if s := readDoor(in); s.verdict != vision.Pass {
		t.Errorf("%+v", s)
	}
}

// What goes with --plc and what doesn't is said at once.
func TestDemoPLCFlags(t *testing.T) {
	for args, want := range map[string]string{
		"--plc --rollout":             "--plc and --rollout",
		"--plc --outage 5s":           "--plc and --outage",
		"--kills 2":                   "--kills goes with --plc",
		"--plc --kills -1":            "--kills -1",
		"--plc --kills 3 --seconds 9": "3 kills need 30s",
		"--plc --speed 9":             "--speed 9",
	} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), append([]string{"demo"}, strings.Fields(args)...), &stdout, &stderr); code != 2 || !strings.Contains(stderr.String(), want) {
			t.Errorf("%s: exit code %d, %q, want %q", args, code, stderr.String(), want)
		}
	}
}

// The real agent, camera and Modbus door: after a kill -9 the belt stops, runs again,
// and nothing passes that the agent's records don't know as a PASS.
func TestDemoPLC(t *testing.T) {
	agent := needAgent(t)
	d := startDemo(t, "--plc", "--seconds", "12", "--seed", "5", "--json", "--listen", "127.0.0.1:0", "--agent", agent)
	lines := d.rest(t)
	last := lines[len(lines)-1]
	t.Log(last)
	var s plcSummary
	if err := json.Unmarshal([]byte(last), &s); err != nil {
		t.Fatal(err)
	}
	if s.Uninspected != 0 || s.Parts < 4 || s.Passed < 1 || s.Passed+s.Rejected != s.Parts || s.Good+s.Bad+s.BelowFloor != s.Parts {
		t.Error("the parts at the gate")
	}
	if s.Double+s.Strange+s.Differ+s.Unwritten != 0 || s.Triggers != s.Results+s.Cut+s.Unheard+s.Unread+s.Missed || s.Records != s.Results+s.Unread {
		t.Error("the results")
	}
	stops := 0
	for _, b := range s.Stops {
		if b.Kill == 1 && b.AfterMS > 0 && b.Travel > 0 {
			stops++
		}
	}
	if s.Kills != 1 || stops != 1 {
		t.Error("the belt didn't stop for the kill")
	}
	if left, err := os.ReadDir(strings.TrimPrefix(d.cmd.Env[len(d.cmd.Env)-1], "TMPDIR=")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
