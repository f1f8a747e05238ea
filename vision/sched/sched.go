// Package sched decides which frame an accelerator looks at next. There are no
// queues: whoever has a frame asks for a turn, and at the moment in which the
// accelerator is free the asker that is chosen takes the newest frame it has.
//
// Criticality class comes first. Within a class the freshest frame wins among
// the least served third of those that ask, so that nobody starves and nothing
// old is looked at. What can't be ready by its deadline, by the model's measured
// 99th percentile, isn't started (admission at dequeue); nor is work of a lower
// class that would make the nearest deadline of a critical one late.
package sched

import (
	"errors"
	"fmt"
	"time"
)

// Class says whose frames go first.
type Class uint8

// The classes, from the zero value that nobody has to choose.
const (
	Normal     Class = iota
	Critical         // before all others, who wait where they would make it late
	BestEffort       // what is left over
)

// ParseClass reads "critical", "normal" or "best_effort".
func ParseClass(s string) (Class, error) {
	switch s {
	case "critical":
		return Critical, nil
	case "normal":
		return Normal, nil
	case "best_effort":
		return BestEffort, nil
	}
	return Normal, fmt.Errorf("criticality %q is none of critical, normal, best_effort", s)
}

func (c Class) String() string {
	switch c {
	case Critical:
		return "critical"
	case BestEffort:
		return "best_effort"
	}
	return "normal"
}

// Errors of Stream.Take that callers tell apart.
var (
	// ErrLate means that the deadline can't be met any more: the frame isn't to be
	// inspected.
	ErrLate = errors.New("it can't be inspected by its deadline")
	// ErrStale means that the newest frame is too old to be of use by the time its
	// result would come: wait for another one.
	ErrStale = errors.New("the frame would be too old")
)

// Ask is what a stream wants a turn for.
type Ask struct {
	Model *Model // that will look at the frame

	// Newest tells when the frame that would be taken now was captured; false: there
	// is none any more, and Take gives ErrStale. It is called while the scheduler
	// holds its lock: it must be quick, and must not call the scheduler.
	Newest func() (captured time.Time, ok bool)

	Deadline time.Time     // by when the result must be there; zero: MaxAge alone counts
	MaxAge   time.Duration // of a frame at its result; 0: any
}
