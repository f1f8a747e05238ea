// Package quality is being written: delete this file together with the first real one.
package quality

import (
	"github.com/sightline-edge/sightline/vision"
	"time"
)

type Fault uint8

const (
	Frozen Fault = iota + 1
	Dark
	Overexposed
	Blurred
	Moved
	Flicker
)

func (f Fault) String() string          { return "x" }
func ParseFault(s string) (Fault, bool) { return 0, false }

type Config struct{ Reference *vision.Frame }
type Monitor struct{}
type Finding struct {
	Fault        Fault
	Since        time.Time
	Value, Limit float64
	Detail       string
}

func New(Config) *Monitor                   { return &Monitor{} }
func (*Monitor) Look(*vision.Frame)         {}
func (*Monitor) Findings() []Finding        { return nil }
func (*Monitor) Reference() *vision.Frame   { return nil }
func (*Monitor) SetReference(*vision.Frame) {}
