package main

import (
	"sync"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/scene"
)

// played draws the scene and remembers when it drew what.
type played struct {
	scene *scene.Scene

	mu    sync.Mutex // protects all below
	drawn []drawnAt
	ended int // the last frame that counts, 0 before end
}

type drawnAt struct {
	at time.Time
	n  int
}

// Frame draws frame n now.
func (p *played) Frame(n int, dst *vision.Frame) error {
	p.mu.Lock()
	p.drawn = append(p.drawn, drawnAt{time.Now(), n})
	p.mu.Unlock()
	return p.scene.Frame(n, dst)
}

// end says that parts which leave from now on don't count.
func (p *played) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.drawn) > 0 {
		p.ended = p.drawn[len(p.drawn)-1].n
	}
}
