package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/sightline-edge/sightline/fleet"
	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/internal/auth"
	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/updater/transfer"
	"github.com/sightline-edge/sightline/vision/models"
)

// ballast makes a bundle, dir.slb, of the shipped model with a file of so many
// bytes beside it.
func ballast(dir string, n int) (want transfer.Want, err error) {
	model, err := models.Open("drawn-parts")
	if err != nil {
		return want, err
	}
	if err := os.CopyFS(dir, model); err != nil {
		return want, fmt.Errorf("make a bundle: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ballast.bin"), seeded(n), 0o644); err != nil {
		return want, fmt.Errorf("make a bundle: %w", err)
	}
	var b bytes.Buffer
	if _, err := bundle.Pack(os.DirFS(dir), &b); err != nil {
		return want, err
	}
	list, err := bundle.Pieces(bytes.NewReader(b.Bytes()))
	if err != nil {
		return want, err
	}
	return transfer.Want{
		Digest: sha256.Sum256(b.Bytes()), Length: int64(b.Len()), Piece: bundle.PieceSize, Pieces: sha256.Sum256(list),
	}, os.WriteFile(dir+".slb", b.Bytes(), 0o644)
}

// put gives the bundle to the fleet, as publishing does.
func (c *carry) put(ctx context.Context) error {
	token := auth.NewSecret(auth.TokenPrefix)
	err := c.store.AddAPIToken(ctx, store.APIToken{
		Key: auth.KeyOf(token), Name: "publish", User: fleet.FirstUser, Role: auth.Operator, Expires: c.store.Now().Add(time.Hour),
	})
	if err != nil {
		return err
	}
	f, err := os.Open(c.file)
	if err != nil {
		return err
	}
	defer f.Close()
	url := "http://" + c.fleet.HTTPAddr() + "/v1/updates/targets/" + hex.EncodeToString(c.want.Digest[:])
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, url, f)
	if err != nil {
		return err
	}
	req.ContentLength = c.want.Length
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/octet-stream")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("give the bundle to the fleet: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("give the bundle to the fleet: %s", res.Status)
	}
	return nil
}

// bare is what two plain clients need to bring a file from one disk to the
// other: one asks for pieces by number, the other sends them. Nothing is
// checked, and nothing is remembered.
func (c *carry) bare(ctx context.Context) (s Sample, err error) {
	const window = 4
	from, err := c.clientAt(ctx, "from", c.fleet.MQTTAddr()) // as the fleet's ingester is
	if err != nil {
		return s, err
	}
	defer from.Disconnect(100)
	to, err := c.client(ctx, "to")
	if err != nil {
		return s, err
	}
	defer to.Disconnect(100)
	src, err := os.Open(c.file)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	dst, err := os.CreateTemp(c.dir, "bare-")
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, dst.Close(), os.Remove(dst.Name())) }()
	asks, pieces := wire.Topic(c.other.Device(), wire.Up, "jq"), wire.Topic(c.other.Device(), wire.Down, "js")
	asked, came := make(chan uint32, window), make(chan []byte, window)
	if err := answered(ctx, from.Subscribe(asks, 0, func(_ mqtt.Client, m mqtt.Message) { asked <- binary.LittleEndian.Uint32(m.Payload()) })); err != nil {
		return s, fmt.Errorf("subscribe: %w", err)
	}
	if err := answered(ctx, to.Subscribe(pieces, 0, func(_ mqtt.Client, m mqtt.Message) { came <- m.Payload() })); err != nil {
		return s, fmt.Errorf("subscribe: %w", err)
	}
	sender := startTasks(ctx, func(ctx context.Context) error { return sendPieces(ctx, from, pieces, src, asked) })
	count := uint32((c.want.Length + transfer.PieceSize - 1) / transfer.PieceSize)
	ask := func(i uint32) {
		if i < count {
			to.Publish(asks, 0, false, binary.LittleEndian.AppendUint32(nil, i))
		}
	}
	began := time.Now()
	for i := range uint32(window) {
		ask(i)
	}
	for got := range count {
		select {
		case b := <-came:
			ask(got + window)
			if _, err := dst.WriteAt(b[4:], int64(binary.LittleEndian.Uint32(b))*transfer.PieceSize); err != nil {
				return s, errors.Join(err, sender.end())
			}
		case <-ctx.Done():
			return s, errors.Join(ctx.Err(), sender.end())
		case <-time.After(rigLimit):
			return s, errors.Join(errors.New("a message was lost"), sender.end())
		}
	}
	took := time.Since(began)
	return Sample{Value: float64(c.want.Length) / 1e6 / took.Seconds()}, sender.end()
}

// sendPieces sends each piece that is asked for, behind its number.
func sendPieces(ctx context.Context, client mqtt.Client, topic string, src *os.File, asked <-chan uint32) error {
	for {
		select {
		case i := <-asked:
			b := make([]byte, 4+transfer.PieceSize)
			binary.LittleEndian.PutUint32(b, i)
			n, err := src.ReadAt(b[4:], int64(i)*transfer.PieceSize)
			if err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			if err := answered(ctx, client.Publish(topic, 0, false, b[:4+n])); err != nil && ctx.Err() == nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}
