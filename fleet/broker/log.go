package broker

import (
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// logger passes NATS's log lines on: quietly, for most of what NATS calls an
// error is a client's doing, and at most one a second, for clients can do it
// often.
type logger struct {
	log *slog.Logger

	mu    sync.Mutex // protects what follows
	last  time.Time  // of the newest line passed on
	left  int        // lines left out since
	ended error      // the first fatal line
}

func (l *logger) warn(what, text string, more ...any) {
	l.mu.Lock()
	if time.Since(l.last) < time.Second {
		l.left++
		l.mu.Unlock()
		return
	}
	left := l.left
	l.last, l.left = time.Now(), 0
	l.mu.Unlock()
	more = append(more, "text", text)
	if left > 0 {
		more = append(more, "left_out", left)
	}
	l.log.Warn(what, more...)
}

// fatal is what NATS couldn't start for, nil if nothing.
func (l *logger) fatal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ended
}

// Fatalf keeps why NATS gives up. NATS goes on after it, half started.
func (l *logger) Fatalf(format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended == nil {
		l.ended = fmt.Errorf(format, v...)
	}
}

// Errorf passes an error on as a warning.
func (l *logger) Errorf(format string, v ...any) {
	l.warn("broker reports an error", fmt.Sprintf(format, v...))
}

// Warnf passes a warning on.
func (l *logger) Warnf(format string, v ...any) {
	l.warn("broker warns", fmt.Sprintf(format, v...))
}

// Noticef is for debugging here.
func (l *logger) Noticef(format string, v ...any) {
	l.log.Debug("broker says", "text", fmt.Sprintf(format, v...))
}

// Debugf is off.
func (*logger) Debugf(string, ...any) {}

// Tracef is off: it would hold messages.
func (*logger) Tracef(string, ...any) {}
