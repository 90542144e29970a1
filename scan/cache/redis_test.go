package cache

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/portcullis-av/portcullis/scan"
)

// What one replica had scanned, the other one knows.
func TestShared(t *testing.T) {
	s := startRedis(t)
	a := startReplica(t, Redis{Address: s.address(), KeyPrefix: "p:"}, judge)
	b := startReplica(t, Redis{Address: s.address(), KeyPrefix: "p:"}, judge)
	other := startReplica(t, Redis{Address: s.address(), KeyPrefix: "q:"}, judge)
	for i, content := range []string{"fine", marker} {
		want, err := a.Scan(t.Context(), object(content))
		if err != nil {
			t.Fatal(err)
		}
		a.flush(t, uint64(i+1))
		for range 2 {
			got, err := b.Scan(t.Context(), object(content))
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		}
		mustScan(t, other, object(content), want.Outcome)
	}
	if diff := cmp.Diff(EngineStats{SharedHits: 2, MemoryHits: 2}, b.Stats()); diff != "" || b.scans.scans.Load() != 0 {
		t.Errorf("%d scans (-want +got):\n%s", b.scans.scans.Load(), diff)
	}
	if other.scans.scans.Load() != 2 {
		t.Error("another prefix shares verdicts")
	}
	if keys := s.command(t, "KEYS", "p:*"); !strings.HasPrefix(keys, "*2\r\n") {
		t.Errorf("keys: %q", keys)
	}
}

// What comes from Redis does not live longer in memory than it would have there.
func TestSharedTTL(t *testing.T) {
	s := startRedis(t)
	a := startReplica(t, Redis{Address: s.address()}, judge)
	b := startReplica(t, Redis{Address: s.address()}, judge)
	mustScan(t, a, object("fine"), scan.OutcomeClean)
	a.flush(t, 1)
	name := onlyKey(t, s)
	var left int
	if _, err := fmt.Sscanf(s.command(t, "PTTL", name), ":%d\r\n", &left); err != nil || left <= 14*60_000 || left > 15*60_000 {
		t.Errorf("%d ms left, %v", left, err)
	}
	s.command(t, "PEXPIRE", name, "200")
	mustScan(t, b, object("fine"), scan.OutcomeClean)
	if s := b.Stats(); s.SharedHits != 1 {
		t.Fatalf("%+v", s)
	}
	time.Sleep(210 * time.Millisecond) // the real server's clock
	mustScan(t, b, object("fine"), scan.OutcomeClean)
	if b.scans.scans.Load() != 1 {
		t.Errorf("%d scans after the end", b.scans.scans.Load())
	}
}

func onlyKey(t *testing.T, s *server) string {
	t.Helper()
	lines := strings.Split(s.command(t, "KEYS", "*"), "\r\n")
	if len(lines) != 4 || lines[0] != "*1" {
		t.Fatalf("keys: %q", lines)
	}
	return lines[2]
}

// Redis never sees a verdict of unknown signatures.
func TestUnknownSignaturesAreNotShared(t *testing.T) {
	s := startRedis(t)
	a := startReplica(t, Redis{Address: s.address()}, judge)
	unknown := a.cache.Engine(Identity{Name: "unknown"}, a.scans, always(""))
	mustScan(t, unknown, object("x"), scan.OutcomeClean)
	if stats := s.command(t, "INFO", "commandstats"); strings.Contains(stats, "getrange") {
		t.Error("Redis was asked about what it cannot know")
	}
	mustScan(t, a, object("x"), scan.OutcomeClean)
	a.flush(t, 1)
	onlyKey(t, s)
	if unknown.Stats().Stored != 1 {
		t.Error("not kept in memory")
	}
}

// CLEAN never replaces INFECTED in Redis; INFECTED replaces CLEAN.
func TestSharedInfectedStands(t *testing.T) {
	s := startRedis(t)
	a := startReplica(t, Redis{Address: s.address()}, judge)
	reader := startReplica(t, Redis{Address: s.address()}, judge)
	k := key{size: 1}
	clean, infected := entry{}, entry{infected: true, threats: []string{"A"}}
	for i, step := range []struct {
		put  entry
		want bool
	}{{clean, false}, {infected, true}, {clean, true}} {
		a.cache.shared.put(k, step.put, time.Minute)
		a.flush(t, uint64(i+1))
		if got, _, ok := reader.cache.shared.get(t.Context(), k); !ok || got.infected != step.want {
			t.Errorf("step %d: %+v, %v", i, got, ok)
		}
	}
}

// Whatever odd thing stands in Redis is a miss.
func TestOddValues(t *testing.T) {
	s := startRedis(t)
	a := startReplica(t, Redis{Address: s.address()}, judge)
	mustScan(t, a, object("fine"), scan.OutcomeClean)
	a.flush(t, 1)
	name := onlyKey(t, s)
	for what, commands := range map[string][][]string{
		"garbage":      {{"SET", name, "CLEAN", "EX", "60"}},
		"empty":        {{"SET", name, "", "EX", "60"}},
		"endless":      {{"PERSIST", name}},
		"1 MiB":        {{"SET", name, strings.Repeat("A", 1<<20), "EX", "60"}},
		"another type": {{"DEL", name}, {"LPUSH", name, "a"}, {"EXPIRE", name, "60"}},
	} {
		saved := s.command(t, "DUMP", name)
		for _, c := range commands {
			if reply := s.command(t, c...); strings.HasPrefix(reply, "-") {
				t.Fatalf("%s: %q", what, reply)
			}
		}
		b := startReplica(t, Redis{Address: s.address()}, judge)
		mustScan(t, b, object("fine"), scan.OutcomeClean)
		stats := b.cache.Stats().Shared
		if b.scans.scans.Load() != 1 || stats.Errors != 0 || !stats.Up || what != "empty" && stats.Rejected != 1 {
			t.Errorf("%s: %d scans, %+v", what, b.scans.scans.Load(), stats)
		}
		s.command(t, "DEL", name)
		_, body, _ := strings.Cut(saved, "\r\n")
		s.command(t, "RESTORE", name, "60000", strings.TrimSuffix(body, "\r\n"))
	}
}

func secretFile(t *testing.T, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func randomSecret() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

// clean is an engine that detects nothing.
func clean(context.Context, scan.Object) (scan.Verdict, error) { return scan.CleanVerdict(), nil }

// With a key file nobody who lacks the key can make malware CLEAN.
func TestHMAC(t *testing.T) {
	s := startRedis(t)
	file := secretFile(t, randomSecret()+"\n")
	// The liar has access to Redis and calls everything clean.
	liar := startReplica(t, Redis{Address: s.address()}, clean)
	mustScan(t, liar, object(marker), scan.OutcomeClean)
	liar.flush(t, 1)
	wrong := startReplica(t, Redis{Address: s.address(), HMACKeyFile: secretFile(t, randomSecret())}, clean)
	right := startReplica(t, Redis{Address: s.address(), HMACKeyFile: file}, judge)
	mustScan(t, right, object(marker), scan.OutcomeInfected)
	if st := right.cache.Stats().Shared; st.Rejected != 1 {
		t.Errorf("%+v", st)
	}
	right.flush(t, 1) // INFECTED replaces the lie
	friend := startReplica(t, Redis{Address: s.address(), HMACKeyFile: file}, clean)
	mustScan(t, friend, object(marker), scan.OutcomeInfected)
	if friend.scans.scans.Load() != 0 {
		t.Error("the same key does not share")
	}
	// Another key's verdict is as odd as garbage.
	mustScan(t, wrong, object(marker), scan.OutcomeClean)
	if st := wrong.cache.Stats().Shared; st.Rejected != 1 {
		t.Errorf("%+v", st)
	}
}

// Secret files that cannot be used end the start, and show nothing.
func TestSecretFiles(t *testing.T) {
	short := secretFile(t, "short secret\n")
	for _, r := range []Redis{
		{HMACKeyFile: filepath.Join(t.TempDir(), "none")},
		{HMACKeyFile: short},
		{PasswordFile: filepath.Join(t.TempDir(), "none")},
	} {
		r.Address = "127.0.0.1:1"
		_, err := New(Config{MemoryEntries: 1, Redis: &r})
		if err == nil || strings.Contains(err.Error(), "short secret") {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

// timed scans n objects that nobody has seen and returns the longest time and
// the sum.
func timed(t *testing.T, r *replica, n int) (longest, all time.Duration) {
	t.Helper()
	for range n {
		o := object(randomSecret())
		began := time.Now()
		mustScan(t, r, o, scan.OutcomeClean)
		took := time.Since(began)
		longest, all = max(longest, took), all+took
	}
	return longest, all
}

// Redis killed: every scan is right, and once the breaker is open nobody asks.
func TestRedisKilled(t *testing.T) {
	s := startRedis(t)
	a := startReplica(t, Redis{Address: s.address()}, judge)
	mustScan(t, a, object("fine"), scan.OutcomeClean)
	a.flush(t, 1)
	s.kill()
	timed(t, a, 100)
	st := a.cache.Stats().Shared
	if st.Up || st.Errors < tripAfter || st.Errors > 2*tripAfter {
		t.Errorf("%+v", st)
	}
	// 100 look-ups would take 3 s.
	if _, all := timed(t, a, 100); all > time.Second {
		t.Errorf("with the breaker open 100 scans took %v", all)
	}
}

// Redis frozen: each of the first scans is late by 50 ms at most, the others not
// at all, and after the thaw it is used again.
func TestRedisFrozen(t *testing.T) {
	s := startRedis(t)
	a := startReplica(t, Redis{Address: s.address()}, judge)
	if told := <-a.told; told != "true <nil>" {
		t.Errorf("told %q", told)
	}
	// The machine itself may be late: it gets three tries.
	longest := time.Hour
	for round := 0; round < 3 && longest > 50*time.Millisecond; round++ {
		s.signal(syscall.SIGSTOP)
		took, _ := timed(t, a, tripAfter)
		longest = min(longest, took)
		if took < lookupBudget {
			t.Fatalf("the server is not frozen: %v", took)
		}
		waitFor(t, "the breaker", func() bool { return !a.cache.Stats().Shared.Up })
		if _, all := timed(t, a, 100); all > time.Second {
			t.Errorf("with the breaker open 100 scans took %v", all)
		}
		if told := <-a.told; !strings.HasPrefix(told, "false ") {
			t.Errorf("told %q", told)
		}
		s.signal(syscall.SIGCONT)
		waitFor(t, "Redis to be used again", func() bool { return a.cache.Stats().Shared.Up })
		if told := <-a.told; told != "true <nil>" {
			t.Errorf("told %q", told)
		}
	}
	if longest > 50*time.Millisecond {
		t.Errorf("a scan took %v", longest)
	}
	before := a.cache.Stats().Shared.Written
	mustScan(t, a, object("fine"), scan.OutcomeClean)
	a.flush(t, before+1)
}

// A server that wants another password is not used, and neither the password nor
// what the server says is told.
func TestLogin(t *testing.T) {
	password := randomSecret()
	s := startRedis(t)
	s.command(t, "ACL", "SETUSER", "gate", "on", ">"+password, "~p:*", "+getrange", "+pttl", "+set", "+ping")
	s.command(t, "ACL", "SETUSER", "default", "off")
	r := Redis{Address: s.address(), KeyPrefix: "p:", Username: "gate", PasswordFile: secretFile(t, password+"\n")}
	a, b := startReplica(t, r, judge), startReplica(t, r, judge)
	mustScan(t, a, object("fine"), scan.OutcomeClean)
	a.flush(t, 1)
	mustScan(t, b, object("fine"), scan.OutcomeClean)
	if b.scans.scans.Load() != 0 {
		t.Error("not shared")
	}
	r.PasswordFile = secretFile(t, "another password")
	wrong := newCache(t, Config{Redis: &r})
	if told := <-run(t, wrong); told != "false it answered with an error of kind WRONGPASS" {
		t.Errorf("told %q", told)
	}
}

// The queue of writes is bounded: what does not fit is dropped, nobody waits.
func TestQueueIsBounded(t *testing.T) {
	tier, err := newRedisTier(Redis{Address: "127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	tier.ready.Store(true) // and nobody empties the queue
	for range queueSize + 10 {
		tier.put(key{}, entry{}, time.Minute)
	}
	if st := tier.stats(); st.Dropped != 10 {
		t.Errorf("%+v", st)
	}
}

// Without Run, as in a command that scans one file, Redis is not asked.
func TestWithoutRun(t *testing.T) {
	s := startRedis(t)
	c := newCache(t, Config{Redis: &Redis{Address: s.address()}})
	e := c.Engine(Identity{Name: "av"}, engineFunc(judge), always("v1"))
	mustScan(t, e, object("x"), scan.OutcomeClean)
	mustScan(t, e, object("x"), scan.OutcomeClean)
	if st := c.Stats().Shared; st.Up || st.Written != 0 || st.Errors != 0 {
		t.Errorf("%+v", st)
	}
	// The two before were of startRedis and of the command itself.
	if info := s.command(t, "INFO", "stats"); !strings.Contains(info, "total_connections_received:2\r") {
		t.Errorf("somebody has connected: %q", info)
	}
}
