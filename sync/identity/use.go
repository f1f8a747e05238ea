package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// Sign signs with the device's key, ECDSA with SHA-256 (ASN.1), and gives the
// certificate (DER) whose key it was: whoever checks needs that one, since the
// next renewal makes another.
func (i *Identity) Sign(message []byte) (signature, certificate []byte, err error) {
	i.mu.Lock()
	cert := i.cert
	i.mu.Unlock()
	key, ok := cert.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		panic("BUG: parsePair gave another key")
	}
	sum := sha256.Sum256(message)
	if signature, err = key.Sign(rand.Reader, sum[:], crypto.SHA256); err != nil {
		return nil, nil, fmt.Errorf("sign with the device's key: %w", err)
	}
	return signature, cert.Leaf.Raw, nil
}

// Times of a request.
const (
	answerLimit = 30 * time.Second
	idleLimit   = 90 * time.Second
)

// HTTP is a client for the fleet's address, with the device's certificate, and
// checked as TLS checks the broker. It has no limit for a whole answer, which
// may be a large file: give each request a context.
func (i *Identity) HTTP() *http.Client {
	host := func() string {
		u, err := url.Parse(i.Fleet())
		if err != nil {
			return "" // no server goes by this name
		}
		return u.Hostname()
	}
	return &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: i.client(host), TLSHandshakeTimeout: answerLimit,
			ResponseHeaderTimeout: answerLimit, IdleConnTimeout: idleLimit, MaxIdleConnsPerHost: 1, DisableCompression: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
