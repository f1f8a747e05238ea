package cli

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

// Progress draws on a terminal how far long work is; elsewhere it is silent. It is
// not safe for concurrent use.
type Progress struct {
	w           io.Writer // nil without a terminal
	what        string
	n, total    int64
	began, last time.Time
}

// patience is how long a person waits before they want to know.
const patience = time.Second

// NewProgress begins work of so many steps or bytes.
func NewProgress(w io.Writer, what string, total int64) *Progress {
	p := &Progress{what: what, total: total, began: time.Now()}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.w = w
	}
	return p
}

// Add says that n more are done.
func (p *Progress) Add(n int) {
	p.n += int64(n)
	now := time.Now()
	if p.w == nil || p.total <= 0 || now.Sub(p.began) < patience || now.Sub(p.last) < patience/10 {
		return
	}
	p.last = now
	fmt.Fprintf(p.w, "\r%s %d %%\x1b[K", p.what, min(p.n*100/p.total, 100))
}

// Done wipes the line away.
func (p *Progress) Done() {
	if !p.last.IsZero() {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
