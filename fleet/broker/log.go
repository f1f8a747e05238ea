package broker

import (
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"
)

// logger passes NATS's log lines on: quietly, for most of what NATS calls an
// error is a client's doing, as the end of its connection, and at most one a
// second, for clients can do it often.
type logger struct {
	log *slog.Logger

	mu      sync.Mutex           // protects what follows
	last    time.Time            // of the newest line passed on
	left    int                  // lines left out since
	ended   error                // the first fatal line
	refused map[string]time.Time // who was refused, why, and when that was told
}

const (
	tellAgain  = 10 * time.Minute // that a client is refused that comes again and again
	maxRefused = 1024             // remembered
)

// refusal tells that a client wasn't let in. from is its address, or "".
func (l *logger) refusal(from, name, id string, err error) {
	host, _, split := net.SplitHostPort(from)
	if split != nil {
		host = from
	}
	key := host + "\x00" + name + "\x00" + id + "\x00" + err.Error()
	l.mu.Lock()
	told, now := l.refused[key], time.Now()
	if len(l.refused) >= maxRefused || l.refused == nil {
		l.refused = map[string]time.Time{}
	}
	again := now.Sub(told) < tellAgain
	if !again {
		l.refused[key] = now
	}
	l.mu.Unlock()
	if again {
		l.log.Debug("broker refused a client", "from", from, "name", name, "id", id, "err", err)
		return
	}
	l.warn("broker refused a client", err.Error(), "from", from, "name", name, "id", id)
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

// Errorf passes an error on: as a warning if it is the broker's own.
func (l *logger) Errorf(format string, v ...any) {
	l.trouble("broker reports an error", fmt.Sprintf(format, v...))
}

// Warnf passes a warning on, in the same way.
func (l *logger) Warnf(format string, v ...any) { l.trouble("broker warns", fmt.Sprintf(format, v...)) }

// trouble tells of clients only what says that one did what it may not, or that
// there is no room for more; a network that fails is every day's.
func (l *logger) trouble(what, text string) {
	if strings.Contains(text, " - mid:") && !strings.Contains(text, "Violation") && !strings.Contains(text, "maximum connections exceeded") {
		l.log.Debug(what, "text", text)
		return
	}
	l.warn(what, text)
}

// Noticef is for debugging here.
func (l *logger) Noticef(format string, v ...any) {
	l.log.Debug("broker says", "text", fmt.Sprintf(format, v...))
}

// Debugf is off.
func (*logger) Debugf(string, ...any) {}

// Tracef is off: it would hold messages.
func (*logger) Tracef(string, ...any) {}
