package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	callTime  = 30 * time.Second
	maxAnswer = 64 << 20 // bytes
)

// call asks the fleet and reads its answer into out, where there is one. The
// error says what to do; it wraps errLoggedOut where the fleet takes the login
// no longer.
func (l *login) call(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("ask the fleet: %w", err)
		}
		body = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, l.Fleet+path, body)
	if err != nil {
		return fmt.Errorf("ask the fleet: %w", err)
	}
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("User-Agent", "sightline/"+version)
	if l.Token != "" {
		r.Header.Set("Authorization", "Bearer "+l.Token)
	}
	client, err := l.client()
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	answer, err := client.Do(r)
	if err != nil {
		return explain(l.Fleet, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return explain(l.Fleet, err)
	}
	if answer.StatusCode >= 300 {
		return l.refused(answer, text)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("ask the fleet at %s: its answer can't be read: is it a Sightline fleet of this version? %w", l.Fleet, err)
	}
	return nil
}

// client trusts the fleet's certificate authority and nobody else's, and
// follows no redirect, so that the token goes nowhere else.
func (l *login) client() (*http.Client, error) {
	t := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: dialTime}
	if strings.HasPrefix(l.Fleet, "https:") {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM([]byte(l.CA)) {
			return nil, fmt.Errorf("%w: the login holds no certificate authority: run sightline login again", errLoggedOut)
		}
		t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return &http.Client{
		Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// refused is what an answer that isn't good means.
func (l *login) refused(answer *http.Response, text []byte) error {
	var p struct {
		Detail string
		Errors []struct{ Message, Location string }
	}
	_ = json.Unmarshal(text, &p) // what is no problem has no detail
	said := clean(p.Detail)
	for _, e := range p.Errors {
		said += ": " + clean(e.Location+" "+e.Message)
	}
	switch answer.StatusCode {
	case http.StatusUnauthorized:
		return fmt.Errorf("%w: the login at %s has ended: run sightline login --fleet %s", errLoggedOut, l.Fleet, l.Fleet)
	case http.StatusMisdirectedRequest:
		return fmt.Errorf("ask the fleet at %s: it isn't known by that name: use one that sightline-fleet init was given, or its address in numbers", l.Fleet)
	}
	if said == "" {
		return fmt.Errorf("ask the fleet at %s: it answers %s: is this a Sightline fleet?", l.Fleet, answer.Status)
	}
	return fmt.Errorf("ask the fleet at %s: %s", l.Fleet, said)
}
