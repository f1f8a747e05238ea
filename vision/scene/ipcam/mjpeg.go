package ipcam

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/sightline-edge/sightline/vision/picture"
)

// slowViewer bounds how long one picture may take to be sent to a viewer.
const slowViewer = 10 * time.Second

// MJPEG is a camera that sends JPEG pictures over HTTP
// (multipart/x-mixed-replace). Use NewMJPEG; it is an http.Handler.
type MJPEG struct {
	Drawing
	Quality int  // of JPEG, 1 to 100; 0 means picture.DefaultQuality
	Wait    bool // frame 0 is drawn when the first viewer comes, not when Run starts

	hub  *hub[[]byte]
	size atomic.Pointer[[2]int] // nil: that of the drawing
}

// NewMJPEG checks the drawing. Nothing is drawn before Run.
func NewMJPEG(d Drawing) (*MJPEG, error) {
	return &MJPEG{Drawing: d, hub: newHub[[]byte]()}, d.check()
}

// Resize changes the size of the pictures from the next one on, without a word
// to the viewers. It may be called at any time.
func (m *MJPEG) Resize(width, height int) error {
	d := m.Drawing
	d.Width, d.Height = width, height
	if err := d.check(); err != nil {
		return err
	}
	m.size.Store(&[2]int{width, height})
	return nil
}

// Run draws and encodes at the camera's rate, once for all viewers and not at
// all without any, until ctx ends.
func (m *MJPEG) Run(ctx context.Context) error {
	if m.Wait {
		select {
		case <-ctx.Done():
			return nil
		case <-m.hub.came:
		}
	}
	f := m.frame()
	var drawn, sent []byte // the newest picture's pixels and JPEG: a belt that stands is coded once
	return m.play(ctx, func(n int) error {
		if !m.hub.watched() {
			return nil
		}
		if size := m.size.Load(); size != nil && (size[0] != f.Width || size[1] != f.Height) {
			d := m.Drawing
			d.Width, d.Height = size[0], size[1]
			f, drawn = d.frame(), nil
		}
		if err := m.Drawer.Frame(n, f); err != nil {
			return err
		}
		if !bytes.Equal(drawn, f.Pix) {
			var err error
			if sent, err = picture.EncodeJPEG(f, picture.Encoding{Quality: m.Quality}); err != nil {
				return err
			}
			drawn = append(drawn[:0], f.Pix...)
		}
		m.hub.publish(sent)
		return nil
	})
}

// ServeHTTP sends pictures from the next one on until the viewer goes.
func (m *MJPEG) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "only GET", http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set("Content-Type", "multipart/x-mixed-replace; boundary=frame")
	w.Header().Set("Cache-Control", "no-store")
	if r.Method == http.MethodHead {
		return
	}
	leave := m.hub.view()
	defer leave()
	out := http.NewResponseController(w)
	if err := out.Flush(); err != nil {
		return
	}
	seen := m.hub.last()
	for {
		pic, n, err := m.hub.after(r.Context(), seen)
		if err != nil {
			return
		}
		seen = n
		// Not every writer knows deadlines; then TCP's own limits hold.
		_ = out.SetWriteDeadline(time.Now().Add(slowViewer))
		if _, err := fmt.Fprintf(w, "--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n", len(pic)); err != nil {
			return
		}
		if _, err := w.Write(append(pic[:len(pic):len(pic)], '\r', '\n')); err != nil {
			return
		}
		if err := out.Flush(); err != nil {
			return
		}
	}
}
