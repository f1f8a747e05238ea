package identity

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/sightline-edge/sightline/sync/wire"
)

// Limits of one request to the fleet.
const (
	patience  = 30 * time.Second // for all of it
	maxAnswer = 64 << 10         // bytes
	maxDetail = 300              // of an error's text
)

// exchange sends a request and reads the fleet's answer. An https proxy of the
// environment doesn't work, as it isn't the fleet's; an http one does.
func exchange(ctx context.Context, conf *tls.Config, address string, in any) (*wire.EnrollAnswer, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	client := &http.Client{
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: patience / 3}).DialContext,
			TLSClientConfig:        conf,
			TLSHandshakeTimeout:    patience / 3,
			MaxResponseHeaderBytes: maxAnswer,
			DisableKeepAlives:      true,
			DisableCompression:     true,
		},
		// Elsewhere there is no fleet, and the token must not go there.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // the address is said by the caller
		}
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, problem(resp, text)
	}
	if len(text) > maxAnswer {
		return nil, fmt.Errorf("the answer is longer than %d bytes: it isn't a fleet's", maxAnswer)
	}
	answer := new(wire.EnrollAnswer)
	if err := json.Unmarshal(text, answer); err != nil {
		return nil, fmt.Errorf("the answer isn't a fleet's: %w", err)
	}
	return answer, nil
}

// problem is the error that an answer other than 200 says, RFC 9457 where it
// is one. It wraps ErrRefused if asking again won't help.
func problem(resp *http.Response, text []byte) error {
	said := resp.Status
	var p struct{ Title, Detail string }
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/problem+json") && json.Unmarshal(text, &p) == nil {
		if p.Detail == "" {
			p.Detail = p.Title
		}
		said = fmt.Sprintf("%s (%d)", printable(p.Detail), resp.StatusCode)
	}
	switch code := resp.StatusCode; {
	case code >= 300 && code < 400:
		return fmt.Errorf("%w: it sends to %q; give the fleet's own address", ErrRefused, printable(resp.Header.Get("Location")))
	case code == http.StatusRequestTimeout, code == http.StatusTooEarly, code == http.StatusTooManyRequests, code < 400, code >= 500:
		return fmt.Errorf("the fleet answered: %s", said)
	}
	return fmt.Errorf("%w: %s", ErrRefused, said)
}

// printable is text of the other side as it may stand in a terminal.
func printable(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	if len(text) > maxDetail {
		text = strings.ToValidUTF8(text[:maxDetail], "") + "…"
	}
	return text
}

// request asks for a certificate of the key. The fleet takes nothing else out
// of it.
func request(key *ecdsa.PrivateKey) (string, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return "", fmt.Errorf("make the certificate request: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})), nil
}

// accept checks the fleet's answer: for this key, of this CA.
func accept(answer *wire.EnrollAnswer, key *ecdsa.PrivateKey, ca *x509.Certificate, fleet string) (about, tls.Certificate, error) {
	fail := func(err error) (about, tls.Certificate, error) {
		return about{}, tls.Certificate{}, fmt.Errorf("check the fleet's answer: %w", err)
	}
	leaf, err := parseCertificate([]byte(answer.Certificate))
	if err != nil {
		return fail(fmt.Errorf("its certificate: %w", err))
	}
	if !key.PublicKey.Equal(leaf.PublicKey) {
		return fail(errors.New("its certificate is for another key"))
	}
	if !sameCA(ca, answer.CA) {
		return fail(errors.New("its CA isn't the server's own"))
	}
	if err := errors.Join(checkOwn(ca, leaf, answer.Device), checkBroker(answer.MQTT)); err != nil {
		return fail(err)
	}
	if answer.Issued.IsZero() || !answer.Issued.Before(leaf.NotAfter) {
		return fail(fmt.Errorf("its certificate was issued at %s and ends at %s", answer.Issued, leaf.NotAfter))
	}
	a := about{Fleet: fleet, Device: answer.Device, Group: answer.Group, MQTT: answer.MQTT, Issued: answer.Issued}
	return a, tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}, nil
}
