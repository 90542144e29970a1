package cache

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"
	"github.com/sony/gobreaker/v2"

	"github.com/portcullis-av/portcullis/scan"
)

// Redis says where the shared tier is. Secrets are in files.
type Redis struct {
	// Address is "host:port" or "unix:/path".
	Address string
	// Username and PasswordFile log in; the file is read for each connection.
	Username, PasswordFile string
	// Database is the number to SELECT.
	Database int
	// KeyPrefix stands before every key. Only replicas whose engines are set up
	// alike may use the same one.
	KeyPrefix string
	// HMACKeyFile holds the secret that entries are signed with, at least 16
	// bytes; "" signs nothing. It is read once.
	HMACKeyFile string
	// TLS is nil for plain text.
	TLS *tls.Config
}

const (
	// lookupBudget is what a lookup may take. With the scheduling of a busy
	// machine on top it stays below the 50 ms that Redis may ever cost.
	lookupBudget = 30 * time.Millisecond
	// dialTimeout bounds connecting, which no lookup waits for beyond its budget.
	dialTimeout = time.Second
	// writeTimeout bounds one batch of writes, which nobody waits for.
	writeTimeout = 500 * time.Millisecond
	// queued writes beyond this are dropped.
	queueSize = 4096
	// batchSize is how many writes go out at once.
	batchSize = 128
	// tripAfter failures in a row nothing is asked until a PING is in time again.
	tripAfter = 5
	// probeInterval is the time between such PINGs.
	probeInterval = time.Second
	// minSecret is the shortest HMAC key, in bytes.
	minSecret = 16
)

// redisTier is the tier that replicas share.
type redisTier struct {
	client  *redis.Client
	prefix  string
	sealer  sealer
	breaker *gobreaker.CircuitBreaker[struct{}]
	queue   chan write
	// ready is true between the first good PING and the end of run.
	ready atomic.Bool

	why                                atomic.Value // of the last failure: an error in a failure
	errors, rejected, written, dropped atomic.Uint64
}

// failure lets errors of any type share an atomic.Value.
type failure struct{ error }

type write struct {
	key key
	e   entry
	ttl time.Duration
}

func newRedisTier(c Redis) (*redisTier, error) {
	secret, err := readSecret(c.HMACKeyFile)
	if err != nil {
		return nil, err
	}
	if _, err := readPassword(c.PasswordFile); err != nil {
		return nil, err
	}
	t := &redisTier{prefix: c.KeyPrefix, sealer: sealer{secret}, queue: make(chan write, queueSize)}
	t.breaker = gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		Timeout:     probeInterval / 2,
		ReadyToTrip: func(n gobreaker.Counts) bool { return n.ConsecutiveFailures >= tripAfter },
	})
	// The library would write lines of its own to standard error; what happens is
	// counted, and told to whoever calls Run.
	logging.Disable()
	t.client = redis.NewClient(clientOptions(c))
	return t, nil
}

func clientOptions(c Redis) *redis.Options {
	o := &redis.Options{
		Network: "tcp", Addr: c.Address, DB: c.Database, TLSConfig: c.TLS,
		Protocol: 2, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		// The breaker decides what is tried again.
		MaxRetries: -1, DialerRetries: 1,
		DialTimeout: dialTimeout, ReadTimeout: writeTimeout, WriteTimeout: writeTimeout,
		PoolTimeout: lookupBudget, ContextTimeoutEnabled: true,
		// Entries are small: 100 bytes as a rule.
		ReadBufferSize: 4 << 10, WriteBufferSize: 4 << 10, PipelinePoolSize: -1,
	}
	if path, ok := strings.CutPrefix(c.Address, "unix:"); ok {
		o.Network, o.Addr = "unix", path
	}
	if o.TLSConfig != nil && o.TLSConfig.ServerName == "" {
		o.TLSConfig = o.TLSConfig.Clone()
		o.TLSConfig.ServerName, _, _ = net.SplitHostPort(c.Address)
	}
	o.Dialer = dialGuarded(o.TLSConfig)
	if c.PasswordFile != "" {
		o.CredentialsProviderContext = func(context.Context) (string, string, error) {
			password, err := readPassword(c.PasswordFile)
			return c.Username, password, err
		}
	}
	return o
}

// readPassword returns what the file holds, line ends at its end taken off.
func readPassword(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	text, err := os.ReadFile(file) //nolint:gosec // the operator's own path
	if err != nil {
		return "", fmt.Errorf("read the password of Redis: %w", err)
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}

func readSecret(file string) ([]byte, error) {
	if file == "" {
		return nil, nil
	}
	secret, err := os.ReadFile(file) //nolint:gosec // the operator's own path
	if err != nil {
		return nil, fmt.Errorf("read the HMAC key of the cache: %w", err)
	}
	if secret = bytes.TrimRight(secret, "\r\n"); len(secret) < minSecret {
		return nil, fmt.Errorf("the HMAC key in %s has %d bytes: it needs %d at least", file, len(secret), minSecret)
	}
	return secret, nil
}

func (t *redisTier) name(k key) (string, [32]byte) {
	digest := k.digest()
	return t.prefix + hex.EncodeToString(digest[:]), digest
}

func (t *redisTier) up() bool { return t.ready.Load() && t.breaker.State() == gobreaker.StateClosed }

// get implements [shared].
func (t *redisTier) get(ctx context.Context, k key) (entry, time.Duration, bool) {
	if !t.up() {
		return entry{}, 0, false
	}
	// A caller that leaves must not look like a slow Redis.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookupBudget)
	defer cancel()
	name, digest := t.name(k)
	var value *redis.StringCmd
	var left *redis.DurationCmd
	err := t.guard(func() error {
		pipe := t.client.Pipeline()
		// One byte more than any entry has shows that this is none.
		value, left = pipe.GetRange(ctx, name, 0, int64(maxValue)), pipe.PTTL(ctx, name)
		_, err := pipe.Exec(ctx)
		return err
	})
	if err != nil {
		return entry{}, 0, false
	}
	text, err := value.Bytes()
	switch {
	case err == nil && len(text) == 0:
		return entry{}, 0, false
	case err != nil || left.Val() <= 0:
		// Another type, or without an end: not of our making.
		t.rejected.Add(1)
		return entry{}, 0, false
	}
	e, err := t.sealer.open(digest, text)
	if err != nil {
		t.rejected.Add(1)
		return entry{}, 0, false
	}
	return e, left.Val(), true
}

// guard counts a failure. An answer of the server that is about one key is none.
func (t *redisTier) guard(do func() error) error {
	_, err := t.breaker.Execute(func() (struct{}, error) {
		err := do()
		if redis.HasErrorPrefix(err, "WRONGTYPE") {
			err = nil
		}
		return struct{}{}, err
	})
	switch {
	case errors.Is(err, gobreaker.ErrOpenState), errors.Is(err, gobreaker.ErrTooManyRequests):
	case err != nil:
		t.failed(err)
	}
	return err
}

func (t *redisTier) failed(err error) {
	t.errors.Add(1)
	t.why.Store(failure{err})
}

// reason is the last failure. What the server said is cut to its first word, the
// error's kind: an old or false server may repeat what it was sent, password
// included.
func (t *redisTier) reason() error {
	f, _ := t.why.Load().(failure)
	var said redis.Error
	if errors.As(f.error, &said) {
		kind, _, _ := strings.Cut(said.Error(), " ")
		return fmt.Errorf("it answered with an error of kind %s", scan.SafeThreat(kind))
	}
	return f.error
}

// put implements [shared].
func (t *redisTier) put(k key, e entry, ttl time.Duration) {
	if !t.up() {
		t.dropped.Add(1)
		return
	}
	select {
	case t.queue <- write{k, e, ttl}:
	default:
		t.dropped.Add(1)
	}
}

// run implements [shared].
func (t *redisTier) run(ctx context.Context, changed Changed) {
	defer func() {
		t.ready.Store(false)
		_ = t.client.Close()
	}()
	t.probe(ctx)
	was := t.tell(changed)
	tick := time.NewTicker(probeInterval)
	defer tick.Stop()
	for {
		select {
		case w := <-t.queue:
			t.write(ctx, t.batch(w))
		case <-tick.C:
			if !t.up() {
				t.probe(ctx)
			}
		case <-ctx.Done():
			return
		}
		if t.up() != was {
			was = t.tell(changed)
		}
	}
}

func (t *redisTier) tell(changed Changed) (up bool) {
	if t.up() {
		changed(true, nil)
		return true
	}
	changed(false, t.reason())
	return false
}

// probe finds out whether Redis answers within the budget of a lookup. The first
// PING is for the connection, which may take longer.
func (t *redisTier) probe(ctx context.Context) {
	patient, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if err := t.client.Ping(patient).Err(); err != nil {
		t.failed(err)
		return
	}
	err := t.guard(func() error {
		ctx, cancel := context.WithTimeout(ctx, lookupBudget)
		defer cancel()
		return t.client.Ping(ctx).Err()
	})
	if err == nil {
		t.ready.Store(true)
	}
}

// batch takes what waits behind w, without waiting.
func (t *redisTier) batch(w write) []write {
	all := []write{w}
	for len(all) < batchSize {
		select {
		case next := <-t.queue:
			all = append(all, next)
		default:
			return all
		}
	}
	return all
}

func (t *redisTier) write(ctx context.Context, all []write) {
	if !t.up() {
		t.dropped.Add(uint64(len(all)))
		return
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	err := t.guard(func() error {
		pipe := t.client.Pipeline()
		for _, w := range all {
			name, digest := t.name(w.key)
			value := t.sealer.seal(digest, w.e)
			if w.e.infected {
				pipe.Set(ctx, name, value, w.ttl)
			} else {
				// Only where there is nothing: CLEAN must not replace INFECTED.
				pipe.SetNX(ctx, name, value, w.ttl)
			}
		}
		_, err := pipe.Exec(ctx)
		return err
	})
	if err != nil {
		t.dropped.Add(uint64(len(all)))
		return
	}
	t.written.Add(uint64(len(all)))
}

// stats implements [shared].
func (t *redisTier) stats() SharedStats {
	return SharedStats{
		Configured: true, Up: t.up(), Errors: t.errors.Load(), Rejected: t.rejected.Load(),
		Written: t.written.Load(), Dropped: t.dropped.Load(),
	}
}
