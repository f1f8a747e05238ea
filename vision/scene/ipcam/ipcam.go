// Package ipcam makes drawn pictures and recordings look like an IP camera:
// MJPEG over HTTP in plain Go, and H.264 or H.265 over RTSP where an ffmpeg
// program is. Nothing that reads from it can know that it isn't a camera. A Gate
// in front of either one freezes, cuts and garbles the connection as bad cameras
// do; a Script makes the RTSP camera itself lose packets, keep silent and lie.
package ipcam

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

// Drawer draws frame n, counted from 0, into a picture whose geometry is set.
// Only one frame is asked for at a time. scene.Scene is one.
type Drawer interface {
	Frame(n int, dst *vision.Frame) error
}

// Drawing is a Drawer with the camera's picture size and rate.
type Drawing struct {
	Drawer        Drawer
	Width, Height int     // pixels
	Rate          float64 // frames a second
	Codec         Codec   // of Drawn; MJPEG has its own
}

// Still is a Drawer that repeats its newest frame while it is held, as a camera
// does whose sensor hangs while everything behind it works.
type Still struct {
	Drawer Drawer

	held atomic.Bool
	last int // the newest frame that wasn't a repetition
}

// Hold begins the repetition, or ends it.
func (s *Still) Hold(held bool) { s.held.Store(held) }

// Frame draws frame n, or the newest one again.
func (s *Still) Frame(n int, dst *vision.Frame) error {
	if !s.held.Load() {
		s.last = n
	}
	return s.Drawer.Frame(s.last, dst)
}

func (d Drawing) check() error {
	switch {
	case d.Drawer == nil:
		return errors.New("drawn camera: there is nothing to draw")
	case d.Width <= 0 || d.Height <= 0:
		return fmt.Errorf("drawn camera: size %dx%d is empty", d.Width, d.Height)
	case !(d.Rate >= 0.1 && d.Rate <= 1000):
		return fmt.Errorf("drawn camera: rate %v frames/s: must be 0.1 to 1000", d.Rate)
	}
	return nil
}

func (d Drawing) frame() *vision.Frame {
	return &vision.Frame{Pix: make([]byte, d.Width*d.Height*3), Width: d.Width, Height: d.Height,
		Stride: d.Width * 3, Format: vision.BGR24}
}

// play calls draw for the frame that the wall clock asks for, each at its
// time, until ctx ends. Frames whose time has passed are left out, as a camera
// would that can't keep up.
func (d Drawing) play(ctx context.Context, draw func(n int) error) error {
	began := time.Now()
	at := func(n int) time.Duration { return time.Duration(float64(n) / d.Rate * float64(time.Second)) }
	t := time.NewTimer(0)
	defer t.Stop()
	for n := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		if err := draw(n); err != nil {
			return fmt.Errorf("drawn camera: frame %d: %w", n, err)
		}
		n = max(n+1, int(time.Since(began).Seconds()*d.Rate))
		t.Reset(time.Until(began.Add(at(n))))
	}
}

// hub hands the newest item to any number of viewers. One that is slow misses
// items; it never holds up the others.
type hub[T any] struct {
	mu      sync.Mutex // protects what follows
	newest  T
	number  uint64        // of newest; 0 while there is none
	next    chan struct{} // closed when a newer one comes
	viewers int
	came    chan struct{} // closed when the first viewer has come
}

func newHub[T any]() *hub[T] {
	return &hub[T]{next: make(chan struct{}), came: make(chan struct{})}
}

func (h *hub[T]) publish(v T) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.newest = v
	h.number++
	close(h.next)
	h.next = make(chan struct{})
}

// last is the number of the newest item, for a viewer that wants later ones.
func (h *hub[T]) last() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.number
}

// after waits for an item newer than number seen.
func (h *hub[T]) after(ctx context.Context, seen uint64) (T, uint64, error) {
	for {
		h.mu.Lock()
		v, n, next := h.newest, h.number, h.next
		h.mu.Unlock()
		if n > seen {
			return v, n, nil
		}
		select {
		case <-ctx.Done():
			return v, n, ctx.Err()
		case <-next:
		}
	}
}

// view counts a viewer in; the result counts it out and is called once.
func (h *hub[T]) view() (leave func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.viewers++; h.number == 0 && h.viewers == 1 {
		select {
		case <-h.came:
		default:
			close(h.came)
		}
	}
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.viewers--
	}
}

func (h *hub[T]) watched() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.viewers > 0
}
