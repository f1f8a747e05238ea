package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	"encoding/pem"
	"math/big"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/fleet"
	"github.com/sightline-edge/sightline/fleet/enroll"
	"github.com/sightline-edge/sightline/sync/wire"
)

// TestCertificatesAtTheBroker: whoever isn't an enrolled device stays outside,
// and who is one is no other.
func TestCertificatesAtTheBroker(t *testing.T) {
	for _, b := range []struct {
		name    string
		outside bool
	}{{"embedded", false}, {"Mosquitto", true}} {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			c := newCentral(t, b.outside)
			d := newDevice(t, c, "victim")
			d.start()
			d.until("its connection", func(now told) bool { return now.Acked > 0 })
			other := prepareCentral(t, t.TempDir())
			for _, wrong := range []struct {
				name string
				cert tls.Certificate
			}{
				{"none", tls.Certificate{}},
				{"self-made", selfMade(t, d.id)},
				{"another fleet's", other.certify(d.id, time.Hour)},
				{"expired", c.certify("", time.Second)},
			} {
				t.Run(wrong.name, func(t *testing.T) {
					if leaf := wrong.cert.Leaf; leaf != nil {
						eventually(t, "its end", func() bool { return wrong.name != "expired" || time.Now().After(leaf.NotAfter.Add(time.Second)) })
					}
					if c.admits(d.id, wrong.cert) {
						t.Error("it is let in")
					}
				})
			}
			// With another device's certificate in the victim's name.
			i := newIntruder(t, c, "other")
			client, err := connectAs(c, d.id, clientTLS(mine(t, i)), i)
			if err == nil && b.outside { // there the certificate's name is put in place of the one that was said
				for _, topic := range []string{wire.Topic(d.id, wire.Up, wire.KindEvents), wire.Topic(d.id, wire.Up, wire.KindLife)} {
					client.Publish(topic, 1, false, batch(t, recipe{Name: "forged"}, d.now().Epoch, 1, 9)).WaitTimeout(patience)
				}
				client.Disconnect(0)
			} else if err == nil {
				t.Error("another device's certificate is let in under the victim's name")
			}
			now := d.stop()
			d.audit(c, now)
			if now.Connects != 1 {
				t.Errorf("the victim had to connect %d times", now.Connects)
			}
		})
	}
}

// admits reports whether a client with that certificate can connect.
func (c *central) admits(name string, cert tls.Certificate) bool {
	c.t.Helper()
	client, err := connectAs(c, name, clientTLS(cert), &intruder{})
	if err != nil {
		return false
	}
	// In TLS 1.3 a client hears later that its certificate wasn't taken; after
	// CONNACK it is in.
	client.Disconnect(0)
	return true
}

func clientTLS(cert tls.Certificate) *tls.Config {
	return &tls.Config{
		InsecureSkipVerify:   true, // the server is known
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil },
	}
}

// mine is the intruder's certificate.
func mine(t *testing.T, i *intruder) tls.Certificate {
	t.Helper()
	cert, err := i.secret.GetClientCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return *cert
}

// certify has the fleet give a new device a certificate that lasts so long.
func (c *central) certify(label string, life time.Duration) tls.Certificate {
	c.t.Helper()
	ca, err := fleet.OpenCA(c.dir)
	if err != nil {
		c.t.Fatal(err)
	}
	st, err := fleet.OpenStore(c.dir)
	if err != nil {
		c.t.Fatal(err)
	}
	defer st.Close()
	service := enroll.NewService(ca, st, enroll.Config{Life: life})
	token, err := service.Token(c.t.Context(), "line-4", 0)
	if err != nil {
		c.t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		c.t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		c.t.Fatal(err)
	}
	answer, err := service.Enroll(c.t.Context(), wire.EnrollRequest{
		Token: token.String(), CSR: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr})), StationLabel: label,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(answer.Certificate))
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		c.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: key, Leaf: leaf}
}

func selfMade(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestRevokedAtTheBroker: once the command has revoked a device, nothing of it
// is stored any more: the embedded broker cuts it, with Mosquitto the fleet
// refuses what it sends, and says so. Its neighbour notices nothing.
func TestRevokedAtTheBroker(t *testing.T) {
	for _, b := range []struct {
		name    string
		outside bool
	}{{"embedded", false}, {"Mosquitto", true}} {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			c := newCentral(t, b.outside)
			db := c.database()
			d, neighbour := newDevice(t, c, "revoked"), newDevice(t, c, "neighbour")
			d.start()
			neighbour.start()
			d.until("results at the fleet", func(now told) bool { return now.Acked > 50 })
			c.command("revoke", d.id)
			at, has := time.Now(), stored(t, db, d.id)
			d.within(time.Minute, "its end at the fleet", func(now told) bool { return !now.Located })
			refused := time.Since(at)
			now := d.within(time.Minute, "why, in words", func(now told) bool {
				return b.outside && strings.Contains(now.Refusal, "the fleet has revoked this device") ||
					!b.outside && strings.Contains(now.Error, "the broker refuses this device's certificate")
			})
			t.Logf("nothing more was taken from %v after the command on, and it knew why after %v",
				refused.Round(time.Millisecond), time.Since(at).Round(time.Millisecond))
			d.until("more results there", func(later told) bool { return later.Last > now.Last+200 })
			if after := stored(t, db, d.id); after != has {
				t.Errorf("%d records were stored after the command", after-has)
			}
			if p := c.presence(d.id); p != "revoked" {
				t.Errorf("the fleet shows it as %q", p)
			}
			d.process.finish()
			neighbour.audit(c, neighbour.stop())
		})
	}
}

// TestTwoAgentsOneToken: two devices are enrolled with the same token at once.
func TestTwoAgentsOneToken(t *testing.T) {
	t.Parallel()
	agent := agentProgram(t)
	c := newCentral(t, false)
	rounds := 1
	if full() {
		rounds = 30
	}
	for round := range rounds {
		token := c.enrolToken()
		var racers []*process
		for range 2 {
			racers = append(racers, start(t, agent, "enroll", "--fleet", "https://"+c.https.Addr(), "--token", token,
				"--data", filepath.Join(t.TempDir(), "data")))
		}
		in := 0
		for _, p := range racers {
			<-p.done
			switch {
			case p.err == nil:
				in++
			case !strings.Contains(p.stderr.String(), "the enrolment token has been used"):
				t.Errorf("the other was told %s", tail(p.stderr.String()))
			}
		}
		if in != 1 {
			t.Fatalf("round %d: %d got in", round, in)
		}
	}
	var devices int
	if err := c.database().QueryRow(`SELECT count(*) FROM device`).Scan(&devices); err != nil || devices != rounds {
		t.Errorf("%d devices after %d tokens, %v", devices, rounds, err)
	}
}

// TestNewerDatabase: a fleet program that is older than the one that wrote the
// database doesn't touch it, and says what to do.
func TestNewerDatabase(t *testing.T) {
	t.Parallel()
	c := newCentral(t, false)
	data := filepath.Join(t.TempDir(), "device")
	id := c.enrol(data)
	c.process.finish()
	change := func(text string) {
		t.Helper()
		db, err := sql.Open("sqlite", filepath.Join(c.dir, fleet.DatabaseName))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.Exec(text); err != nil {
			t.Fatal(err)
		}
	}
	change(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (9000, 1)`)
	for _, command := range [][]string{{"serve", "--https", "127.0.0.1:0", "--mqtt", "127.0.0.1:0"}, {"token", "--group", "x"}, {"revoke", id}} {
		p := start(t, c.program, append(command, "--data", c.dir)...)
		<-p.done
		if p.err == nil || p.cmd.ProcessState.ExitCode() != 1 ||
			!strings.Contains(p.stderr.String(), "a newer version of this program wrote the database: run that one") {
			t.Errorf("%s ended with %v: %s", command[0], p.err, p.stderr.String())
		}
	}
	change(`DELETE FROM goose_db_version WHERE version_id = 9000`)
	c.serve()
	if p := c.presence(id); p != "never" {
		t.Errorf("with its own program again the device is %q", p)
	}
}
