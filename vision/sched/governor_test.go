package sched

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// plant is a governor with stations that ask ten times a second, on one device.
type plant struct {
	t        *testing.T
	s        *Scheduler
	g        *Governor
	stations []*station
	start    time.Time
	log      []string // every step that was come to: "name step"
}

type station struct {
	*Member
	stream *Stream
	bad    func(Step) bool // whether an ask now is one that can't be in time
	idle   bool            // it asks for nothing
	every  time.Duration   // it asks; 0: 100 ms
	last   Step
}

func newPlant(t *testing.T) *plant {
	return &plant{t: t, s: New(Config{}), g: NewGovernor(GovernorConfig{}), start: time.Now()}
}

func never0(Step) bool  { return false }
func always0(Step) bool { return true }

func (p *plant) add(c MemberConfig, minRate float64) *station {
	st := p.s.Join(StreamConfig{Name: c.Name, Class: c.Class, MinRate: minRate})
	c.Streams = []*Stream{st}
	x := &station{Member: p.g.Join(c), stream: st, bad: never0}
	p.stations = append(p.stations, x)
	return x
}

// run lets time pass.
func (p *plant) run(d time.Duration) {
	p.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		next := time.Now().Add(100 * time.Millisecond)
		for _, x := range p.stations {
			if x.Step() == Nothing || x.idle || x.every > 0 && time.Since(p.start)%x.every != 0 {
				continue
			}
			a := still(p.s.Model("m"))
			a.Deadline = time.Now().Add(5 * time.Millisecond)
			if x.bad(x.Step()) {
				a.Deadline = time.Now().Add(-1)
			}
			turn, err := x.stream.Take(p.t.Context(), a)
			if err == nil {
				time.Sleep(time.Millisecond)
				turn.Done(true)
			} else if err != ErrLate {
				p.t.Fatal(err)
			}
		}
		time.Sleep(time.Until(next))
		if time.Since(p.start)%(500*time.Millisecond) != 0 {
			continue
		}
		p.g.Tick(time.Now())
		for _, x := range p.stations {
			if now := x.Step(); now != x.last {
				p.log = append(p.log, x.Name()+" "+now.String())
				x.last = now
			}
		}
	}
}

func (p *plant) want(what, steps string) {
	p.t.Helper()
	if got := strings.Join(p.log, ", "); got != steps {
		p.t.Errorf("%s: %q, want %q", what, got, steps)
	}
	p.log = nil
}

func TestGovernorHysteresis(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		x := p.add(MemberConfig{Name: "x"}, 0)
		p.run(10 * time.Second)
		x.bad = always0
		p.run(500 * time.Millisecond)
		x.bad = never0
		p.run(time.Minute)
		x.bad = func(Step) bool { return time.Now().UnixMilli()%2500 < 100 } // 1 of 25
		p.run(time.Minute)
		p.want("trouble that passes, and a share that is allowed", "")
		x.bad = never0
		p.run(10 * time.Second)
		x.bad = func(Step) bool { return time.Now().UnixMilli()%500 < 100 } // 1 of 5
		p.run(4 * time.Second)
		p.want("trouble that holds", "x slower")
		got := x.Stats()
		if !strings.HasPrefix(got.Why, "late: ") || got.Step != Slower || got.Entered != [4]uint64{Slower: 1} || time.Since(got.Since) > 3*time.Second {
			t.Errorf("%+v", got)
		}
		x.bad = never0
		p.run(8 * time.Second)
		p.want("calm for less than 10 s", "")
		p.run(3 * time.Second)
		p.want("calm for 10 s", "x full")
		if got := x.Stats(); got.Why != "" || got.Entered != [4]uint64{Full: 1, Slower: 1} {
			t.Errorf("%+v", got)
		}
	})
}

func TestGovernorOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		critical := p.add(MemberConfig{Name: "c", Class: Critical, Smaller: true}, 0)
		p.add(MemberConfig{Name: "n", Smaller: true}, 0)
		p.add(MemberConfig{Name: "a", Class: BestEffort}, 0)
		p.add(MemberConfig{Name: "b", Class: BestEffort, Smaller: true, Fixed: true}, 0)
		p.add(MemberConfig{Name: "idle", Class: BestEffort}, 0).idle = true // has nothing to give
		p.run(5 * time.Second)
		critical.bad = func(Step) bool { return time.Now().UnixMilli()%300 < 100 }
		p.run(2 * time.Minute)
		// Best effort first, a step each in turn, then normal, then the critical one
		// itself; but as it misses a third alone, it isn't turned off.
		p.want("trouble of a critical one", "a slower, b smaller, a none, b none, n slower, n smaller, n none, c slower, c smaller")
		if why := p.stations[1].Stats().Why; !strings.HasPrefix(why, "c late: ") {
			t.Errorf("n is %q for the trouble of c", why)
		}
		critical.bad = never0
		p.run(2 * time.Minute)
		p.want("calm", "c slower, c full, n smaller, n slower, n full, a slower, b smaller, b full, a full")

		// Those above aren't touched for the trouble of those below.
		p.stations[1].bad = func(s Step) bool { return true }
		p.run(22 * time.Second)
		p.want("trouble of a normal one", "a slower, b smaller, a none, b none, n slower, n smaller, n none")
		p.stations[1].bad = never0
		p.run(3 * time.Minute)
		p.log = nil
		r := rand.New(rand.NewPCG(1, 2))
		p.stations[1].bad = func(Step) bool { return r.IntN(4) == 0 }
		p.run(time.Minute)
		p.want("lasting trouble of a normal one", "a slower, b smaller, a none, b none, n slower, n smaller")
	})
}

// Where every step back brings the trouble back, it is tried ever less often.
func TestGovernorDoesNotFlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		x := p.add(MemberConfig{Name: "x"}, 0)
		p.add(MemberConfig{Name: "y"}, 0)
		p.run(5 * time.Second)
		x.bad = func(Step) bool { return p.stations[1].Step() == Full && x.Step() == Full }
		p.run(time.Hour)
		entered := x.Stats().Entered[Slower] + p.stations[1].Stats().Entered[Slower]
		t.Logf("in an hour %d times", entered)
		// 10, 20, 40, 80, 160, 300 s …: 6 until then and 11 to 12 more.
		if entered < 14 || entered > 18 {
			t.Errorf("%d times in an hour, want about 16", entered)
		}
		if a, b := x.Stats().Entered[Slower], p.stations[1].Stats().Entered[Slower]; a > 1 && b > 1 {
			t.Errorf("the steps wander: %d and %d", a, b)
		}
		x.bad = never0
		p.run(20 * time.Minute)
		p.log = nil
		x.bad = func(s Step) bool { return s == Full }
		p.run(6 * time.Second)
		x.bad = never0
		p.run(11 * time.Second)
		p.want("after a long calm the wait is short again", "x slower, x full")
	})
}

func TestGovernorWhatIsTrouble(t *testing.T) {
	quiet := func(t *testing.T, p *plant, cameras []*camera, d time.Duration) {
		t.Helper()
		done := make(chan struct{})
		go func() {
			runAll(d, cameras)
			close(done)
		}()
		for range int(d / (500 * time.Millisecond)) {
			time.Sleep(500 * time.Millisecond)
			p.g.Tick(time.Now())
		}
		<-done
	}
	cams := func(p *plant, n int, c MemberConfig, minRate float64, period, cost, maxAge time.Duration) []*camera {
		var all []*camera
		for i := range n {
			x := p.add(c, minRate)
			all = append(all, &camera{stream: x.stream, model: p.s.Model("m"), period: period, maxAge: maxAge,
				first: time.Now().Add(time.Duration(7*i) * time.Millisecond), cost: func() time.Duration { return cost }})
		}
		return all
	}
	all := func(p *plant) (steps []Step) {
		for _, x := range p.stations {
			steps = append(steps, x.Step())
		}
		return steps
	}
	for _, row := range []struct {
		name    string
		class   Class
		minRate float64
		cost    time.Duration
		period  time.Duration
		maxAge  time.Duration
		trouble bool
	}{
		{"frames are dropped", Normal, 0, 12 * ms, 33 * ms, 0, false},
		{"frames are dropped, max_age is kept", Normal, 0, 12 * ms, 33 * ms, 100 * ms, false},
		{"min_rate is reached", Normal, 9, 12 * ms, 33 * ms, 0, false}, // 10 each
		{"min_rate isn't reached", Normal, 15, 12 * ms, 33 * ms, 0, true},
		{"min_rate of best effort isn't reached", BestEffort, 15, 12 * ms, 33 * ms, 0, true},
		{"max_age isn't kept", Normal, 0, 40 * ms, 200 * ms, 60 * ms, true},
		{"best effort has what is left", BestEffort, 0, 40 * ms, 200 * ms, 60 * ms, false},
		{"the camera gives too little", Normal, 15, 12 * ms, 200 * ms, 0, false},
	} {
		bubble(t, row.name, func(t *testing.T) {
			p := newPlant(t)
			quiet(t, p, cams(p, 8, MemberConfig{Name: "x", Class: row.class, Smaller: true}, row.minRate, row.period, row.cost, row.maxAge), 30*time.Second)
			steps := all(p)
			if got := slices.Max(steps) > Full; got != row.trouble {
				t.Errorf("steps %v, %+v", steps, p.s.Stats())
			}
		})
	}
}

func TestSlowerIsHalf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		x, y, z := p.add(MemberConfig{Name: "x"}, 0), p.add(MemberConfig{Name: "y"}, 8), p.add(MemberConfig{Name: "z"}, 10)
		p.run(5 * time.Second)
		p.g.Pressure("heat", 0.75)
		p.run(time.Second)
		before := []Stats{x.stream.Stats(), y.stream.Stats(), z.stream.Stats()}
		p.run(20 * time.Second)
		for i, want := range []uint64{100, 160, 200} {
			if got := p.stations[i].stream.Stats().Grants - before[i].Grants; got < want*9/10 || got > want*105/100 {
				t.Errorf("%s had %d turns in 20 s, want about %d", p.stations[i].Name(), got, want)
			}
		}
		x.Leave()
		before[0] = x.stream.Stats()
		p.run(10 * time.Second)
		if got := x.stream.Stats().Grants - before[0].Grants; got < 99 {
			t.Errorf("%d turns in 10 s after it left the governor", got)
		}
	})
}

// A device that is hot when it starts knows no rate yet.
func TestSlowerFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		x := p.add(MemberConfig{Name: "x"}, 0)
		p.g.Pressure("heat", 0.75)
		p.run(10 * time.Second)
		before := x.stream.Stats()
		p.run(20 * time.Second)
		if got := x.stream.Stats().Grants - before.Grants; got < 90 || got > 105 {
			t.Errorf("%d turns in 20 s, want about 100", got)
		}
	})
}

func TestPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		for _, c := range []Class{Critical, Normal, BestEffort} {
			p.add(MemberConfig{Name: c.String(), Class: c, Smaller: true}, 0)
		}
		p.add(MemberConfig{Name: "fixed"}, 0)
		p.stations[3].config.Fixed = true
		steps := func() string {
			var s []string
			for _, x := range p.stations {
				s = append(s, x.Step().String())
			}
			return strings.Join(s, " ")
		}
		p.run(5 * time.Second)
		for _, row := range []struct {
			level float64
			want  string
		}{
			{0.49, "full full full full"}, {0.5, "full full slower full"}, {0.65, "full full smaller full"},
			{0.75, "full slower none full"}, {0.9, "full smaller none full"}, {1, "full none none none"},
			{7, "full none none none"}, // what is beyond
		} {
			p.g.Pressure("heat", row.level)
			p.g.Pressure("power", row.level/2)
			p.run(500 * time.Millisecond)
			if got := steps(); got != row.want {
				t.Errorf("%v: %s, want %s", row.level, got, row.want)
			}
		}
		if why := p.stations[1].Stats().Why; why != "heat" {
			t.Errorf("because of %q", why)
		}
		p.g.Pressure("heat", 0) // power stands at 3.5, so 1
		p.run(15 * time.Second)
		if got, why := steps(), p.stations[1].Stats().Why; got != "full none none none" || why != "power" {
			t.Errorf("%s because of %q", got, why)
		}
		p.g.Pressure("power", 0.6)
		p.run(9 * time.Second)
		p.g.Pressure("power", 0.8) // the highest of the last 10 s counts
		p.run(500 * time.Millisecond)
		p.g.Pressure("power", 0.1)
		p.run(time.Second)
		if got := steps(); got != "full slower none full" {
			t.Errorf("falling: %s", got)
		}
		p.run(11 * time.Second)
		if got := steps(); got != "full full full full" {
			t.Errorf("gone: %s", got)
		}
		p.g.Pressure("heat", nan())
		p.run(time.Second)
		if got := steps(); got != "full full full full" {
			t.Errorf("not a number: %s", got)
		}
	})
}

func nan() float64 { zero := 0.0; return zero / zero }

func TestStepNames(t *testing.T) {
	if got := fmt.Sprint(Full, Slower, Smaller, Nothing); got != "full slower smaller none" {
		t.Error(got)
	}
}
