package quality

import "time"

// Fault is one way in which a camera's pictures lie. The zero value is none.
type Fault uint8

// The faults.
const (
	_           Fault = iota
	Frozen            // frames keep coming, the picture stays
	Dark              // lens cap, light off
	Overexposed       // clipped white
	Blurred           // dirty lens, out of focus
	Moved             // the camera doesn't look where the reference picture was taken
	Flicker           // the brightness swings from frame to frame
)

// Faults are all of them, in the order of Findings.
var Faults = [...]Fault{Frozen, Dark, Overexposed, Blurred, Moved, Flicker}

func (f Fault) String() string {
	switch f {
	case Frozen:
		return "frozen"
	case Dark:
		return "dark"
	case Overexposed:
		return "overexposed"
	case Blurred:
		return "blurred"
	case Moved:
		return "moved"
	case Flicker:
		return "flicker"
	}
	return ""
}

// ParseFault reads what String wrote.
func ParseFault(s string) (Fault, bool) {
	for _, f := range Faults {
		if f.String() == s {
			return f, true
		}
	}
	return 0, false
}

// Finding is a fault that holds now.
type Finding struct {
	Fault  Fault
	Since  time.Time // when it began, before it had held long enough to be told
	Value  float64   // what was measured last; the unit is the fault's (see Config)
	Limit  float64   // what Value was compared with
	Detail string    // for people
}

// A hold says of one fault whether it is told: only after it has held for
// enter without a break, and until the picture has been good for leave.
type hold struct {
	on           bool
	begun, ended time.Time // of what may become, or end, the fault; zero: nothing
	value, limit float64
	detail       func(value float64) string // makes the text when somebody asks
}

// is takes one more look: bad, good, or between the two limits (neither).
func (h *hold) is(now time.Time, bad, good bool, enter, leave time.Duration) {
	switch {
	case !h.on && !bad:
		h.begun = time.Time{}
	case !h.on:
		if h.begun.IsZero() {
			h.begun = now
		}
		h.on = now.Sub(h.begun) >= enter
		h.ended = time.Time{}
	case !good:
		h.ended = time.Time{}
	default:
		if h.ended.IsZero() {
			h.ended = now
		}
		if now.Sub(h.ended) >= leave {
			h.on, h.begun = false, time.Time{}
		}
	}
}

// clear ends what is told at once.
func (h *hold) clear() { h.on, h.begun, h.ended = false, time.Time{}, time.Time{} }

// held reports whether the fault is told or about to be.
func (h *hold) held() bool { return h.on || !h.begun.IsZero() }

// doubt forgets what had only begun or begun to end: nothing could be seen.
func (h *hold) doubt() {
	h.ended = time.Time{}
	if !h.on {
		h.begun = time.Time{}
	}
}
