package board

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A driver that hangs costs one goroutine and no reading; when it has come back
// it is asked anew, and what it said meanwhile is not told as if it were new.
func TestHungDriverIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		hang := make(chan struct{})
		l := &library{limit: nvmlLimit, ask: func() ([]GPU, []Problem) {
			if calls.Add(1) == 1 {
				<-hang
				return []GPU{{Name: "old"}}, nil
			}
			return []GPU{{Name: "new"}}, nil
		}}
		began := time.Now()
		for range 3 {
			if gpus, problems := l.poll(); len(gpus) != 0 || len(problems) != 1 || problems[0].Path != "nvml" {
				t.Errorf("of a hung driver: %v %v", gpus, problems)
			}
		}
		if calls.Load() != 1 || time.Since(began) != nvmlLimit {
			t.Errorf("asked %d times in %v", calls.Load(), time.Since(began))
		}
		close(hang)
		synctest.Wait()
		if gpus, problems := l.poll(); len(gpus) != 1 || gpus[0].Name != "new" || len(problems) != 0 {
			t.Errorf("of a driver that is back: %v %v", gpus, problems)
		}
	})
}

func TestNoLibraryIsNoProblem(t *testing.T) {
	for _, l := range []*library{nil, {}, newLibrary()} {
		for range 2 {
			gpus, problems := l.poll()
			if len(gpus) > 0 {
				t.Skipf("left out: a machine without a GPU; here are %+v", gpus)
			}
			for _, p := range problems { // a library without its driver
				t.Logf("%s: %s", p.Path, p.Why)
			}
		}
	}
}

func TestJoinKnowsTheIntegratedGPU(t *testing.T) {
	tegra := []GPU{{Name: "ga10b", Integrated: true, Load: to(0.3), Celsius: to(50.0)}}
	for _, c := range []struct {
		name                string
		tegra, asked, joint []GPU
	}{
		{"one of each, the same", tegra, []GPU{{Name: "Orin (nvgpu)", Load: to(0.9), ClockMax: to[uint64](1e9)}},
			[]GPU{{Name: "Orin (nvgpu)", Integrated: true, Load: to(0.3), Celsius: to(50.0), ClockMax: to[uint64](1e9)}}},
		{"a card beside it", tegra, []GPU{{Name: "NVIDIA RTX A2000"}}, []GPU{tegra[0], {Name: "NVIDIA RTX A2000"}}},
		{"cards alone", nil, []GPU{{Name: "a"}, {Name: "b"}}, []GPU{{Name: "a"}, {Name: "b"}}},
		{"the library doesn't answer", tegra, nil, tegra},
		{"files tell nothing", nil, []GPU{{Name: "Orin (nvgpu)"}}, []GPU{{Name: "Orin (nvgpu)"}}},
	} {
		before := tegra[0]
		if d := cmp.Diff(c.joint, join(c.tegra, c.asked)); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
		if d := cmp.Diff(before, tegra[0]); d != "" {
			t.Errorf("%s changed what it was given: %s", c.name, d)
		}
	}
}

func TestThrottled(t *testing.T) {
	for mask, want := range map[uint64][]string{
		0: nil, 0x1: nil, 0x103: nil, 0x4: {"power cap"}, 0x48: {"hardware slowdown", "too hot, by hardware"},
		1 << 60: nil, 0xffff: {"power cap", "hardware slowdown", "too hot", "too hot, by hardware", "power brake"},
	} {
		if d := cmp.Diff(want, throttled(mask)); d != "" {
			t.Errorf("%#x: %s", mask, d)
		}
	}
}
