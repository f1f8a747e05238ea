package web

import (
	"net/http"
	"time"
)

// pieceTime is how long a reader may take for each piece of a stream.
const pieceTime = 10 * time.Second

// Pieces writes a stream piece by piece. A reader that doesn't take a piece in
// ten seconds is cut off.
type Pieces struct {
	Err error // why nothing more is written; nil while it is

	w http.ResponseWriter
	c *http.ResponseController
}

// NewPieces begins the stream: its headers leave now.
func NewPieces(w http.ResponseWriter, contentType string) *Pieces {
	p := &Pieces{w: w, c: http.NewResponseController(w)}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no") // a proxy must not gather it
	_ = p.c.SetReadDeadline(time.Time{})      // a test's writer has none, which is as good
	w.WriteHeader(http.StatusOK)
	p.Write(nil)
	return p
}

// Write sends the piece, unless an earlier one couldn't be sent.
func (p *Pieces) Write(b []byte) {
	if p.Err != nil {
		return
	}
	_ = p.c.SetWriteDeadline(time.Now().Add(pieceTime)) // a test's writer has none, which is as good
	if _, p.Err = p.w.Write(b); p.Err == nil {
		p.Err = p.c.Flush()
	}
}
