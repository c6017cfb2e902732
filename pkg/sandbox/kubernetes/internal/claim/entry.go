package claim

import (
	"errors"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	core "sigs.k8s.io/agent-sandbox/api/v1beta1"
	v1beta1 "sigs.k8s.io/agent-sandbox/extensions/api/v1beta1"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// entry is what the watch knows of one claim, and who is to be told.
type entry struct {
	name string

	mu      sync.Mutex
	uid     types.UID             // from the answer to the create; empty before
	created string                // the resource version of that answer
	latest  *v1beta1.SandboxClaim // nil: not seen yet
	news    chan struct{}         // closed, and made again, by every change

	there     bool // the create was answered, or the watch has seen it
	releasing bool
	ordered   bool   // its deletion was accepted
	held      *Claim // once it was ready
	suspect   func(reason string)

	gone    chan struct{} // see Claim.Gone
	cause   error
	end     End
	deleted chan struct{} // the API has it no more
}

func newEntry(name string) *entry {
	return &entry{name: name, news: make(chan struct{}), gone: make(chan struct{}), deleted: make(chan struct{})}
}

// made takes the answer to the create.
func (e *entry) made(c *v1beta1.SandboxClaim) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.uid, e.created, e.there = c.UID, c.ResourceVersion, true
	if e.latest == nil || e.latest.UID != c.UID {
		e.latest = c
		e.tell()
	}
}

// deliver takes what the watch brings.
func (e *entry) deliver(c *v1beta1.SandboxClaim) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.uid != "" && e.uid != c.UID {
		return
	}
	e.latest, e.there = c, true
	e.tell()
	if e.held != nil && !e.releasing && e.cause == nil {
		if reason, sure := judge(e.held, c); sure {
			e.settle(reason, End{})
		} else if reason != "" && e.suspect != nil {
			go e.suspect(reason)
		}
	}
}

// remove is called when the API has the object no more.
func (e *entry) remove() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.isDeleted() {
		return
	}
	close(e.deleted)
	e.tell()
	if e.held != nil && !e.releasing {
		e.settle(deletedBy(e.latest), End{})
	}
}

// missing decides whether a claim that a list of version rv does not have is gone: not if the list is older than the claim.
func (e *entry) missing(rv string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.there {
		return false
	}
	if e.created == "" {
		return true
	}
	order, err := resourceversion.CompareResourceVersion(e.created, rv)
	return err == nil && order <= 0
}

func (e *entry) isDeleted() bool {
	select {
	case <-e.deleted:
		return true
	default:
		return false
	}
}

// tell wakes everyone who waits for news. e.mu is held.
func (e *entry) tell() {
	close(e.news)
	e.news = make(chan struct{})
}

// look is the state of now, and a channel that closes when it changes.
func (e *entry) look() (c *v1beta1.SandboxClaim, deleted bool, news <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.latest, e.isDeleted(), e.news
}

// lose says that the sandbox is gone.
func (e *entry) lose(reason string, end End) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.releasing {
		e.settle(reason, end)
	}
}

// settle is lose with e.mu held.
func (e *entry) settle(reason string, end End) {
	if e.cause != nil {
		return
	}
	e.cause = &sandbox.Error{Op: "sandbox", ID: e.name, Kind: sandbox.KindLost, Err: errors.New(reason)}
	e.end = end
	close(e.gone)
}

func (e *entry) fate() (End, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.end, e.cause
}

// hold makes the entry watch over a claim that is ready, and judges what came meanwhile.
func (e *entry) hold(c *Claim, suspect func(reason string)) {
	e.mu.Lock()
	e.held, e.suspect = c, suspect
	latest := e.latest
	e.mu.Unlock()
	if latest != nil {
		e.deliver(latest)
	}
}

// disown is for a claim that is not the run's, or not any more: nothing will be deleted or waited for.
func (e *entry) disown() {
	e.mu.Lock()
	e.releasing, e.ordered = true, true
	e.mu.Unlock()
	e.remove()
}

// release makes what comes from now on expected.
func (e *entry) release() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.releasing = true
}

func readiness(c *v1beta1.SandboxClaim) *metav1.Condition {
	return meta.FindStatusCondition(c.Status.Conditions, string(core.SandboxConditionReady))
}

// judge says what is wrong with a claim that was ready: nothing, something that is sure, or something that may be no
// more than a probe that failed once, or may have a better explanation in the pod.
func judge(held *Claim, now *v1beta1.SandboxClaim) (reason string, sure bool) {
	if now.DeletionTimestamp != nil {
		return deletedBy(now), true
	}
	ready := readiness(now)
	if ready == nil {
		return "", false
	}
	if ready.Status == metav1.ConditionTrue {
		if now.Status.SandboxStatus.Name != held.Sandbox {
			return "its sandbox was deleted by another program, and another one took its place", true
		}
		if ips := now.Status.SandboxStatus.PodIPs; len(ips) > 0 && len(held.PodIPs) > 0 && !slices.Equal(ips, held.PodIPs) {
			return "its pod was deleted or evicted, and another one took its place", true
		}
		return "", false
	}
	switch ready.Reason {
	case v1beta1.ClaimExpiredReason, core.SandboxReasonExpired:
		return "it expired", true
	case core.SandboxReasonSuspended:
		return "it was suspended by another program", true
	case "SandboxMissing":
		return "its sandbox was deleted by another program", true
	}
	return ready.Reason + ": " + ready.Message, false
}

func deletedBy(c *v1beta1.SandboxClaim) string {
	if c != nil {
		if ready := readiness(c); ready != nil && ready.Reason == v1beta1.ClaimExpiredReason {
			return "it expired"
		}
	}
	return "its claim was deleted by another program"
}
