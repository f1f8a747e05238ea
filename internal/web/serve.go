package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Limits of a connection.
const (
	headerTime = 5 * time.Second
	answerTime = 30 * time.Second // streams set their own
	idleTime   = 2 * time.Minute
	graceTime  = 500 * time.Millisecond
)

// Allow lets a handler take until then to read its request and find its answer, longer
// than Serve lets requests, and some time more to write it. Without, an answer that
// comes 30 s after its request is lost.
func Allow(w http.ResponseWriter, until time.Time) {
	c, end := http.NewResponseController(w), until.Add(answerTime)
	_ = errors.Join(c.SetReadDeadline(end), c.SetWriteDeadline(end)) // only tests' writers have none
}

// Serve answers on the listener, which it closes, until the context ends; open
// streams, whose requests' contexts are below it, end then too.
func Serve(ctx context.Context, l net.Listener, handler http.Handler, log *slog.Logger) error {
	server := &http.Server{
		Handler:           handler,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: headerTime,
		ReadTimeout:       answerTime,
		WriteTimeout:      answerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	grace, stop := context.WithTimeout(context.WithoutCancel(ctx), graceTime)
	defer stop()
	err := server.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close()
	}
	<-ended
	if err != nil {
		return fmt.Errorf("stop serving %s: %w", l.Addr(), err)
	}
	return nil
}
