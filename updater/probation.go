package updater

import (
	"fmt"
	"math"
	"time"
)

// What a bundle on probation may do.
const (
	defaultProbation = time.Minute
	defaultVerdicts  = 20
	maxVerdicts      = 64               // that Vitals names
	idleAfter        = 30 * time.Minute // with too few verdicts
	maxBoots         = 2                // starts of the program during probation

	crashTime  = time.Minute      // within which one crash is enough
	settleTime = 10 * time.Second // before latencies and rates count: first pictures are slow
	tailTime   = 30 * time.Second // before p99 alone counts: of few pictures it is the slowest one
	slowFactor = 1.5              // of what the one before took
	noneMore   = 0.05             // share of NONE above what the one before had
	lateMore   = 0.01             // share of late verdicts above it
	fewLate    = 3                // late verdicts that may be chance
	hotCelsius = 95
	hotterBy   = 15
)

// baseline is what the one before was like, for comparison. It is on disk: the
// program may start again during probation.
type baseline struct {
	Verdicts uint64        `json:"verdicts"`
	None     uint64        `json:"none"`
	Late     uint64        `json:"late"`
	ModelP50 time.Duration `json:"model_p50_ns"`
	ModelP99 time.Duration `json:"model_p99_ns"`
	AgeP99   time.Duration `json:"age_p99_ns"`
	Celsius  *float64      `json:"celsius,omitempty"`
}

func newBaseline(v Vitals) baseline {
	b := baseline{Verdicts: v.Verdicts, None: v.None, Late: v.Late, ModelP50: v.ModelP50, ModelP99: v.ModelP99, AgeP99: v.AgeP99}
	if !math.IsNaN(v.Celsius) {
		b.Celsius = &v.Celsius
	}
	return b
}

// trial is what a bundle on probation is judged by.
type trial struct {
	before   baseline
	now      Vitals
	since    time.Duration // that it serves, in this run of the program
	lasts    time.Duration // that it must serve at least
	verdicts uint64        // that it must have told at least
}

// finding is what a trial shows.
type finding struct {
	done   bool   // it may stay
	reason Reason // why it must go, or, if waits, what it waits for
	waits  bool
	text   string
}

// judge says what becomes of a bundle on probation. It is pure.
func judge(t trial) finding {
	if reason, text := t.fault(); reason != "" {
		return finding{reason: reason, text: text}
	}
	few := t.now.Verdicts < t.verdicts
	switch {
	case t.since < t.lasts:
		return finding{waits: true}
	case few && t.since >= idleAfter:
		return finding{waits: true, reason: Idle, text: fmt.Sprintf("%d of %d verdicts in %v", t.now.Verdicts, t.verdicts, t.since.Round(time.Minute))}
	case few:
		return finding{waits: true}
	}
	return finding{done: true}
}

// fault is the first thing that is wrong, or "".
func (t trial) fault() (Reason, string) {
	v := t.now
	switch {
	case v.Failure != "":
		return Crashes, v.Failure
	case v.Restarts >= 2 || v.Restarts == 1 && t.since <= crashTime:
		return Crashes, fmt.Sprintf("its worker was started again %d times in %v", v.Restarts, t.since.Round(time.Second))
	case t.hot():
		return Hot, fmt.Sprintf("%.0f °C%s", v.Celsius, t.wasHot())
	case t.since < min(settleTime, t.lasts/4):
		return "", ""
	}
	if text := t.slow(); text != "" {
		return Slow, text
	}
	enough := v.Verdicts >= min(t.verdicts, defaultVerdicts) && v.Verdicts > 0
	if was, is := share(t.before.Late, t.before.Verdicts), share(v.Late, v.Verdicts); v.Late >= fewLate && is > was+lateMore {
		return Late, fmt.Sprintf("%.1f %% of verdicts came after the deadline, before %.1f %%", 100*is, 100*was)
	}
	if was, is := share(t.before.None, t.before.Verdicts), share(v.None, v.Verdicts); enough && is > was+noneMore {
		return NoneRate, fmt.Sprintf("%.1f %% of parts have no verdict, before %.1f %%", 100*is, 100*was)
	}
	return "", ""
}

// slow says how its latency is worse where that hurts: pictures come faster
// than the model takes, or verdicts later than they are due. Where nobody
// knows how often pictures come, being slower is enough. Until tailTime the
// usual picture must take longer than the slowest did before, and not the
// slowest alone: a machine that is busy for a moment makes that.
func (t trial) slow() string {
	v, b := t.now, t.before
	tail := t.since >= tailTime
	if longer(v.ModelP99, b.ModelP99) && v.ModelP99 > v.Period && (tail || v.ModelP50 > b.ModelP99) {
		text := fmt.Sprintf("the model takes %v (p50) to %v (p99), before %v to %v", round(v.ModelP50), round(v.ModelP99), round(b.ModelP50), round(b.ModelP99))
		if v.Period > 0 {
			text += fmt.Sprintf("; a picture comes every %v", round(v.Period))
		}
		return text
	}
	if longer(v.AgeP99, b.AgeP99) && v.Deadline > 0 && v.AgeP99 > v.Deadline && tail {
		return fmt.Sprintf("verdicts come up to %v after their picture (p99), before %v; they are due in %v", round(v.AgeP99), round(b.AgeP99), v.Deadline)
	}
	return ""
}

func longer(now, before time.Duration) bool {
	return before > 0 && float64(now) > slowFactor*float64(before)
}

func (t trial) hot() bool {
	c := t.now.Celsius
	if math.IsNaN(c) {
		return false
	}
	was := t.before.Celsius
	return was == nil && c > hotCelsius || was != nil && (c > hotCelsius && c > *was+1 || c > *was+hotterBy)
}

func (t trial) wasHot() string {
	if t.before.Celsius == nil {
		return ""
	}
	return fmt.Sprintf(", before %.0f °C", *t.before.Celsius)
}

func share(n, of uint64) float64 {
	if of == 0 {
		return 0
	}
	return float64(n) / float64(of)
}

func round(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }
