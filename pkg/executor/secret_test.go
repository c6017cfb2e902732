package executor_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sbxrun/sbxrun/internal/check"
	"github.com/sbxrun/sbxrun/internal/mask"
	"github.com/sbxrun/sbxrun/pkg/event"
)

// No secret is in anything that is shown or written but the content of artifacts.
func TestSecretsAreMasked(t *testing.T) {
	const token = "s3cr3t-t0ken"
	key := "-----BEGIN KEY-----\nabcdefghijkl\n-----END KEY-----"
	b := newBench(t)
	b.secrets = map[string]string{"TOKEN": token, "KEY": key, "PIN": "90417"}
	b.run(`
secrets: [TOKEN, KEY, PIN]
cases: {list: [{id: case-s3cr3t-t0ken, field: s3cr3t-t0ken}]}
steps:
	- name: a
		env: {T: "${{ secrets.TOKEN }}", K: "${{ secrets.KEY }}", PIN: "${{ secrets.PIN }}"}
		run: |
			echo "token $T"
			for part in $K; do echo "line $part"; done
			printf 's3cr3t'; printf -- '-t0ken\n'
			echo "$K" >&2
			echo czNjcjN0LXQwa2Vu
			echo "$T" > "out-$T"
			echo "{\"pin\": $PIN}" > pin.json
			exit 1
		expect: {stdout: nothing}
		capture: {word: stdout, pin: 'file("pin.json")', number: 'json("9" + "0417")', raw: 'file("out-s3cr3t-t0ken")'}
	- {name: uses s3cr3t-t0ken, run: 'true'}
collect: [{src: "out-*"}]
`)
	s := b.samples()
	if len(s) != 1 {
		t.Fatal(s)
	}
	data, err := json.Marshal(b.events)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{token, "abcdefghijkl", "90417", base64.StdEncoding.EncodeToString([]byte(token))} {
		if strings.Contains(string(data), secret) {
			t.Errorf("events have %q", secret)
		}
		err := filepath.WalkDir(b.opts.Dir, func(p string, d os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if strings.Contains(p, secret) {
				t.Errorf("a file is called %s", p)
			}
			if !d.IsDir() && !strings.Contains(p, "/artifacts/") {
				content, err := os.ReadFile(p)
				if strings.Contains(string(content), secret) {
					t.Errorf("%s has %q", p, secret)
				}
				return err
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	st := b.step("a")
	if st.Verdict != event.Failed || !strings.HasPrefix(st.Stdout.Head, "token ***\n") || st.Captures["pin"] != "{\"pin\": ***}\n" || st.Captures["number"] != "***" {
		t.Errorf("%+v", st)
	}
	var artifacts []string
	for _, f := range tree(t, b.opts.Dir) {
		if strings.HasPrefix(f, "artifacts/") {
			artifacts = append(artifacts, f)
		}
	}
	if want := "artifacts/demo/case-%2A%2A%2A%7E1/1/default/out-***=" + token + "\n"; len(artifacts) != 1 || artifacts[0] != want {
		t.Errorf("artifacts %q", artifacts)
	}
}

// What a step leaves in files is masked before it is compared, cut or written, and so are captures.
func TestSecretsInFiles(t *testing.T) {
	token := strings.Repeat("0123456789abcdef", 40)
	sum := fmt.Sprintf("%x", sha256.Sum256([]byte("token="+token+"\n")))
	b := newBench(t)
	b.secrets = map[string]string{"TOKEN": token}
	b.opts.Update = check.NewUpdates(t.TempDir())
	b.run(`
secrets: [TOKEN]
steps:
	- name: written
		env: {T: "${{ secrets.TOKEN }}"}
		run: |
			echo "token=$T" > conf.txt
			yes "$T" | head -n 200 > long.txt
		expect:
			files:
				conf.txt: {golden: golden/conf.txt, equals: "token=${{ env.T }}", size: ` + strconv.Itoa(len(token)+7) + `, sha256: ` + sum + `}
				long.txt: {matches: '^(\*\*\*\n){200}$', size: ` + strconv.Itoa(200*(len(token)+1)) + `}
			that: ['file("conf.txt") contains env.T']
	- name: differs
		env: {T: "${{ secrets.TOKEN }}"}
		continue_on_error: true
		run: printf '\001\000%s' "$T" > b.bin
		expect:
			stdout: {contains: "x${{ env.T }}"}
			files:
				conf.txt: {equals: "x", contains: x, matches: x, json: 1}
				long.txt: {equals: "x", contains: x}
				b.bin: {equals: "x"}
		capture: {cut: 'file("conf.txt")[0:100]', long: 'repeat("x", 65500) + "` + token + `"'}
	- name: not ready
		env: {T: "${{ secrets.TOKEN }}"}
		background: true
		run: sleep 1000
		ready: {command: 'echo "is $T" >&2; false', timeout: 20ms}
`)
	if st := b.step("written"); st.Verdict != event.Passed {
		t.Errorf("%+v", st.Findings)
	}
	if st := b.step("differs"); len(st.Findings) != 8 || st.Captures["cut"] != "token=***\n" {
		t.Errorf("%d findings, captures %v", len(st.Findings), st.Captures)
	}
	if st := b.step("not ready"); !strings.Contains(st.Message, "is ***") {
		t.Error(st.Message)
	}
	if _, err := b.opts.Update.Write(); err != nil {
		t.Error(err)
	}
	if got := tree(t, filepath.Join(b.dir, "golden")); len(got) != 1 || got[0] != "conf.txt=token=***\n" {
		t.Errorf("golden files: %q", got)
	}
	data, err := json.Marshal(b.events)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{token[:16], "30 31 32 33"} {
		if at := strings.Index(string(data), part); at >= 0 {
			t.Errorf("events have a part of the secret: %s", data[max(0, at-200):at+16])
		}
	}
	if got := tree(t, b.opts.Dir); len(got) > 1 { // stderr of the one that is not ready is the probe's
		t.Errorf("files are left: %q", got)
	}
}

// Names of recipes, cases, sandboxes and steps are masked alike in events and on disk, and paths are told as they are.
func TestSecretsInNames(t *testing.T) {
	for _, secret := range []string{"demo", "main", "box", "1", "stdout", "a", "logs", "%", "2A", "*", "steps", "queue"} {
		t.Run(secret, func(t *testing.T) {
			b := newBench(t)
			b.secrets = map[string]string{"S": secret}
			b.run(`
secrets: [S]
sandboxes: {box: {}}
steps: [{name: a, run: 'echo hello; touch out'}]
collect: [{src: out}]
`)
			s := b.sample()
			for _, e := range b.events {
				if e.Recipe != mask.New(b.secrets).Text("demo") || strings.Contains(e.Recipe, secret) && secret != "*" {
					t.Errorf("recipe %q in %s", e.Recipe, e.Type)
				}
				if e.StepEnd == nil {
					continue
				}
				if data, err := os.ReadFile(filepath.Join(b.opts.Dir, e.StepEnd.Stdout.Path)); err != nil || len(data) == 0 {
					t.Errorf("the log %q: %v", e.StepEnd.Stdout.Path, err)
				}
				if e.StepEnd.Part != "steps" {
					t.Errorf("part %q", e.StepEnd.Part)
				}
			}
			for _, f := range tree(t, b.opts.Dir) {
				if name, _, _ := strings.Cut(f, "="); slices.Contains([]string{"demo", "main", "box"}, secret) && strings.Contains(name, secret) {
					t.Errorf("a file is called %s", name)
				}
			}
			if left := tree(t, filepath.Join(b.opts.Dir, s.Dir)); s.Dir == "" || len(left) != 1 {
				t.Errorf("artifacts in %q: %q", s.Dir, left)
			}
			if _, ok := s.Phases["queue"]; !ok {
				t.Errorf("phases %v", s.Phases)
			}
		})
	}
}
