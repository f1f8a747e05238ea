package rollout

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sightline-edge/sightline/fleet/store"
)

// Defaults and bounds of conditions.
const (
	DefaultVerdicts = 20
	DefaultTimeout  = time.Hour
	DefaultSilence  = 24 * time.Hour
	DefaultSuccess  = 100
	maxWaves        = 20
	maxTime         = 30 * 24 * time.Hour
)

// Conditions say when a wave is done, and when that can't be. Zero values are
// the defaults; zero limits let nothing pass.
type Conditions struct {
	Verdicts      int           `json:"verdicts"`       // that each station must have told by the bundle, at most store.MaxWitnessed
	Probation     time.Duration `json:"probation"`      // for which a device watches the bundle; 0 for the device's own
	Timeout       time.Duration `json:"timeout"`        // for which a device may be connected and not done, waiting for people left out
	Silence       time.Duration `json:"silence"`        // after which a device that isn't there is silent
	Success       int           `json:"success"`        // percent of the devices, those that failed or are silent left out, that must have proved
	MaxFailures   Limit         `json:"max_failures"`   // devices of the waves so far; one more halts the rollout
	MaxSilent     Limit         `json:"max_silent"`     // the same for silent ones
	WithoutGolden bool          `json:"without_golden"` // a bundle without golden pictures may be rolled out
}

func (c Conditions) withDefaults() Conditions {
	if c.Verdicts == 0 {
		c.Verdicts = DefaultVerdicts
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Silence == 0 {
		c.Silence = DefaultSilence
	}
	if c.Success == 0 {
		c.Success = DefaultSuccess
	}
	return c
}

func (c Conditions) check() error {
	switch {
	case c.Verdicts < 1 || c.Verdicts > store.MaxWitnessed:
		return fmt.Errorf("%w: verdicts can be 1 to %d, not %d", ErrRequest, store.MaxWitnessed, c.Verdicts)
	case c.Success < 1 || c.Success > 100:
		return fmt.Errorf("%w: success can be 1 to 100 %%, not %d", ErrRequest, c.Success)
	}
	for _, t := range []struct {
		name  string
		is    time.Duration
		least time.Duration
	}{{"probation", c.Probation, 0}, {"time-out", c.Timeout, time.Second}, {"silence", c.Silence, time.Second}} {
		if t.is < t.least || t.is > maxTime {
			return fmt.Errorf("%w: %s can be %s to %s, not %s", ErrRequest, t.name, brief(t.least), brief(maxTime), brief(t.is))
		}
	}
	return nil
}

func readConditions(text string) (c Conditions, err error) {
	if err = json.Unmarshal([]byte(text), &c); err != nil {
		return c, fmt.Errorf("read its conditions: %w", err)
	}
	return c, nil
}

// Limit is a number of devices or a share of them, as 3 or 5%.
type Limit struct {
	N       int
	Percent bool
}

// ParseLimit reads a limit as people write it; "" is 0.
func ParseLimit(text string) (l Limit, err error) {
	if text == "" {
		return l, nil
	}
	number, percent := strings.CutSuffix(strings.TrimSpace(text), "%")
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 || percent && n > 100 || n > 1e6 {
		return l, fmt.Errorf("%w: a limit is a number of devices or a share, as 3 or 5%%, not %q", ErrRequest, text)
	}
	return Limit{n, percent}, nil
}

func (l Limit) String() string {
	if l.Percent {
		return strconv.Itoa(l.N) + "%"
	}
	return strconv.Itoa(l.N)
}

// MarshalText is String.
func (l Limit) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText is ParseLimit.
func (l *Limit) UnmarshalText(text []byte) (err error) {
	*l, err = ParseLimit(string(text))
	return err
}

// of is the limit for so many devices, a share rounded down.
func (l Limit) of(devices int) int {
	if l.Percent {
		return devices * l.N / 100
	}
	return l.N
}

// Waves are how large each wave of so many devices is: text is a list of
// numbers and shares of all devices, as 1,10%,all. A share is rounded up; all is
// what is left, and comes last. Waves that nothing is left for are left out.
func Waves(text string, devices int) (sizes []int, err error) {
	parts := strings.Split(text, ",")
	if len(parts) > maxWaves {
		return nil, fmt.Errorf("%w: %d waves, %d can be", ErrRequest, len(parts), maxWaves)
	}
	left := devices
	for i, part := range parts {
		part = strings.TrimSpace(part)
		size := left
		if last := i == len(parts)-1; last != (part == "all") {
			return nil, fmt.Errorf("%w: waves are numbers and shares, and all at the end, as 1,10%%,all, not %q", ErrRequest, text)
		} else if !last {
			l, err := ParseLimit(part)
			if err != nil || l.N == 0 {
				return nil, fmt.Errorf("%w: a wave is a number of devices or a share of them, as 5 or 10%%, not %q", ErrRequest, part)
			}
			if size = l.N; l.Percent {
				size = (devices*l.N + 99) / 100
			}
		}
		if size = min(size, left); size > 0 {
			sizes = append(sizes, size)
		}
		left -= size
	}
	return sizes, nil
}
