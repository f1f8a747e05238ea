package capture

import (
	"crypto/md5"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// digestAnswer is the Authorization header for a Digest challenge with MD5 and
// qop auth or none (RFC 7616 section 3.4), which is what cameras ask for.
func digestAnswer(challenge, user, password, method, uri string) (string, error) {
	p := digestParams(challenge[len("digest "):])
	if a := p["algorithm"]; a != "" && !strings.EqualFold(a, "MD5") {
		return "", fmt.Errorf("the camera asks for digest access with %s: MD5 is known here", a)
	}
	if strings.ContainsAny(user+p["realm"]+p["nonce"]+p["opaque"], "\"\r\n") {
		return "", errors.New("the camera's digest challenge or the user name holds a quote or a line end")
	}
	sum := func(parts ...string) string {
		h := md5.Sum([]byte(strings.Join(parts, ":")))
		return hex.EncodeToString(h[:])
	}
	ha1, ha2 := sum(user, p["realm"], password), sum(method, uri)
	out := fmt.Sprintf(`Digest username="%s", realm="%s", nonce="%s", uri="%s"`, user, p["realm"], p["nonce"], uri)
	if qop := p["qop"]; qop != "" {
		if !strings.Contains(","+strings.ReplaceAll(qop, " ", "")+",", ",auth,") {
			return "", fmt.Errorf("the camera asks for digest quality %q: auth is known here", qop)
		}
		cnonce := rand.Text()
		out += fmt.Sprintf(`, qop=auth, nc=00000001, cnonce="%s", response="%s"`, cnonce,
			sum(ha1, p["nonce"], "00000001", cnonce, "auth", ha2))
	} else {
		out += fmt.Sprintf(`, response="%s"`, sum(ha1, p["nonce"], ha2))
	}
	if p["opaque"] != "" {
		out += fmt.Sprintf(`, opaque="%s"`, p["opaque"])
	}
	return out, nil
}

// digestParams reads name=value and name="value" pairs between commas.
func digestParams(s string) map[string]string {
	p := map[string]string{}
	for s != "" {
		name, rest, ok := strings.Cut(s, "=")
		if !ok {
			break
		}
		var value string
		if strings.HasPrefix(rest, `"`) {
			value, s, _ = strings.Cut(rest[1:], `"`)
			_, s, _ = strings.Cut(s, ",")
		} else {
			value, s, _ = strings.Cut(rest, ",")
		}
		p[strings.ToLower(strings.Trim(name, " \t,"))] = strings.TrimSpace(value)
	}
	return p
}
