package cli

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

// Waiting tells what a command waits for, where nobody knows how far it is: on a
// terminal in one line that changes, elsewhere in a line now and then. It is not safe
// for concurrent use.
type Waiting struct {
	w     io.Writer
	line  bool // it is a terminal
	drawn bool
	last  time.Time // of the last line elsewhere
}

// waitingEvery is how often a line is written where there is no terminal.
const waitingEvery = 30 * time.Second

// NewWaiting begins to wait.
func NewWaiting(w io.Writer) *Waiting {
	f, ok := w.(*os.File)
	return &Waiting{w: w, line: ok && term.IsTerminal(int(f.Fd()))}
}

// Tell tells what is waited for now.
func (p *Waiting) Tell(text string) {
	switch now := time.Now(); {
	case p.line:
		fmt.Fprintf(p.w, "\r%s\x1b[K", text)
		p.drawn = true
	case p.last.IsZero() || now.Sub(p.last) >= waitingEvery:
		fmt.Fprintln(p.w, text)
		p.last = now
	}
}

// Done wipes the line away; the next Tell begins anew.
func (p *Waiting) Done() {
	if p.drawn {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
	p.drawn, p.last = false, time.Time{}
}
