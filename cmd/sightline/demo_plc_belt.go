package main

import (
	"sort"
	"sync"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/scene"
)

const (
	// beltClock is the scene's rate: its frame n is the belt after n ms of moving.
	beltClock = 1000
	// beltRamp is how long the belt needs from its full speed to a stand, and back.
	beltRamp = 200 * time.Millisecond
	// trembles are the pictures of a standing belt: it is moved back by so many
	// ms less one, under half a pixel, so that no picture has the noise of the one before.
	trembles = 3
	// pxPerMM makes a drawn part 42 mm across.
	pxPerMM = 4.0
)

// conveyor is a belt that moves while its motor is on, and what a camera sees of it.
type conveyor struct {
	scene *scene.Scene // at beltClock
	speed float64      // times real time

	mu    sync.Mutex // protects all below
	on    bool
	share float64   // of the full speed, 0 to 1
	at    float64   // how far it has come, ms at full speed
	last  time.Time // when at was true
	count int       // pictures
}

func newConveyor(seed uint64, speed float64) (*conveyor, error) {
	s, err := scene.New(scene.Config{Seed: seed, DefectRate: demoDefects, Rate: beltClock})
	return &conveyor{scene: s, speed: speed, at: trembles}, err
}

// motor switches it on or off. It starts and brakes over beltRamp.
func (c *conveyor) motor(now time.Time, on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moveLocked(now)
	c.on = on
}

// move gives how far the belt has come, and whether it stands.
func (c *conveyor) move(now time.Time) (ms float64, stands bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moveLocked(now)
	return c.at, c.share == 0
}

func (c *conveyor) moveLocked(now time.Time) {
	passed := now.Sub(c.last).Seconds()
	if c.last.IsZero() || passed <= 0 {
		passed = 0
	}
	c.last = now
	ramp, target := beltRamp.Seconds(), 0.0
	if c.on {
		target = 1
	}
	change := min(passed, ramp*max(target-c.share, c.share-target)) // seconds of the ramp
	next := c.share
	if change > 0 {
		next += change / ramp * (2*target - 1)
		next = min(max(next, 0), 1)
	}
	if change < passed { // the ramp is over
		next = target
	}
	c.at += 1000 * c.speed * (change*(c.share+next)/2 + (passed-change)*next)
	c.share = next
}

// Frame draws the belt as it lies now, whatever the number of the camera's picture.
func (c *conveyor) Frame(_ int, dst *vision.Frame) error {
	at, _ := c.move(time.Now())
	c.mu.Lock()
	c.count++
	back := c.count % trembles
	c.mu.Unlock()
	return c.scene.Frame(max(int(at)-back, 0), dst)
}

// barrier is how far the belt has come when part n breaks the light barrier: its
// centre is in the middle of the picture.
func (c *conveyor) barrier(n int) float64 {
	p := c.scene.Part(n)
	from, to := int(max(p.Entered, 0).Milliseconds()), int(p.Left.Milliseconds())
	middle := float32(c.scene.Config().Width) / 2
	return float64(from + sort.Search(to-from, func(k int) bool {
		for _, t := range c.scene.Truth(from + k) {
			if t.Part.Index == n {
				return t.Box.X+t.Box.W/2 >= middle
			}
		}
		return k > (to-from)/2 // at the picture's rims nothing of it shows
	}))
}

// gate is how far the belt has come when part n is at the reject gate: it has just
// left the picture.
func (c *conveyor) gate(n int) float64 {
	return c.scene.Part(n).Left.Seconds() * 1000
}

// beltPx is the way of so many ms, in pixels of the picture: the belt's mean, from
// which it swells and sinks by less than a tenth.
func beltPx(ms float64) float64 { return ms / 1000 * scene.BeltSpeed }
