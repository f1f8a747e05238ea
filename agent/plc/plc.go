// Package plc is the door to the machine that stops or ejects a part: a line's
// controller triggers an inspection and gets its verdict in its own handshake,
// over ASCII on TCP, Modbus TCP, or lines of a GPIO chip. These protocols know no
// login: a door is bound to a named address and lets named peers in alone.
//
// Silence must never pass a part. Outputs are safe (not ready, reject) before the
// first verdict, on any fault and once the agent is gone, and the heartbeat is fed
// by the agent's progress: a stuck agent goes silent.
package plc

import (
	"context"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

//go:generate go test -run ^TestReference$ . -update

// Station is what a door asks of the station behind it. All methods may be called
// at any time from any goroutine.
type Station interface {
	// Trigger begins an inspection and gives its answer, always, by the station's
	// deadline: a NONE with its reason where there is no verdict. It doesn't fail.
	Trigger(ctx context.Context, t Trigger) Answer
	// Ready tells whether a verdict can be promised for a trigger that came now, and
	// if not, why (for people).
	Ready() (ok bool, why string)
	// Recipe is the active recipe's name with the names of all, in the order of the
	// configuration, which is how a controller numbers them (from 1).
	Recipe() (active string, all []string)
	// SetRecipe makes another recipe the active one, between two parts.
	SetRecipe(ctx context.Context, name string) error
	// Progress grows while the scheduler and the recorder go round. It stands still
	// in an agent that is stuck.
	Progress() uint64
}

// Trigger asks for one inspection.
type Trigger struct {
	ID   string    // the controller's; "" lets the device count
	Part string    // serial of the part; "" where nobody knows it
	At   time.Time // when it came: a line's edge by the kernel's clock, else when the request was read

	// Taken, where it isn't nil, is to be called as soon as this trigger has its place
	// before every later one. The door hands over the next trigger only then, or with
	// the answer: two that come together could otherwise overtake each other, and
	// each would get the other's picture. A station that never calls it gets one
	// trigger at a time.
	Taken func()
}

// Answer is the verdict of one trigger as the line is told it.
type Answer struct {
	TriggerID string // the trigger's, or the device's count
	PartID    string // as it was given
	Attempt   int    // 1 for the part's first inspection
	Recipe    string // that judged it; "" at a station without recipes
	Verdict   vision.Verdict
	Reason    string
	Repeated  bool // the trigger had been answered before: this is that answer again
}
