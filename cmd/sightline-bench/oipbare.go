package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// answerRole is the bench as a bare HTTP server: each body is read into memory, and
// answered with ANSWER bytes.
const answerRole = "answer"

// answers serves until its standard input ends.
func answers(_ context.Context, args []string, out io.Writer) error {
	n, err := numbers(args, 1)
	if err != nil {
		return err
	}
	l, err := listen(out)
	if err != nil {
		return fmt.Errorf("serve answers: %w", err)
	}
	in, answer := make([]byte, 4*resnetInputFloats), make([]byte, n[0])
	server := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadFull(r.Body, in); err != nil { // one client, one request at a time
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_, _ = w.Write(answer) // the client tells
	})}
	if err := server.Serve(l); !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("serve answers: %w", err)
	}
	return nil
}

// post sends that server as much as a request for a model n times, and gives the time
// of each answer in seconds.
func post(ctx context.Context, addr string, n int) ([]float64, error) {
	transport := &http.Transport{WriteBufferSize: 64 << 10, ReadBufferSize: 64 << 10} // as our client's
	defer transport.CloseIdleConnections()
	client, in, answer := http.Client{Transport: transport}, make([]byte, 4*resnetInputFloats), make([]byte, 4*resnetOutputFloats)
	var each []float64
	for range n {
		start := time.Now()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr, bytes.NewReader(in))
		if err != nil {
			return nil, err
		}
		r, err := client.Do(req)
		if err != nil {
			return nil, err
		}
		_, err = io.ReadFull(r.Body, answer)
		if err := errors.Join(err, r.Body.Close()); err != nil {
			return nil, fmt.Errorf("read the bare server's answer: %w", err)
		}
		each = append(each, time.Since(start).Seconds())
	}
	return each, nil
}
