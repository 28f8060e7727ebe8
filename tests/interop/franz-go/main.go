// What franz-go (kgo, and kadm for administration) has to see, or fail: called by ../run, which
// says what for.
//
//	check work ADDRESS VECTORS         produces the matrix, and does the rest of what is checked
//	check read ADDRESS TOPIC...        each has the records of the matrix
//	check group ADDRESS PREFIX         groups and administration; what it creates has the prefix
//	check member ADDRESS GROUP TOPIC   reads TOPIC as a member of GROUP until SIGTERM
package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log"
	"maps"
	"os"
	"os/signal"
	"reflect"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	records = 200
	timeout = 30 * time.Second // for anything
	// Of the first record whose time is given; each is a second later than the one before.
	firstTime = 1_700_000_000_000
)

var (
	codecs = []struct {
		name  string
		codec kgo.CompressionCodec
	}{
		{"none", kgo.NoCompression()}, {"gzip", kgo.GzipCompression()},
		{"snappy", kgo.SnappyCompression()}, {"lz4", kgo.Lz4Compression()},
		{"zstd", kgo.ZstdCompression()},
	}
	// franz-go is idempotent unless it is told not to be.
	acks = []struct {
		name    string
		options []kgo.Opt
	}{
		{"0", []kgo.Opt{kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite()}},
		{"1", []kgo.Opt{kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite()}},
		{"all", []kgo.Opt{kgo.RequiredAcks(kgo.AllISRAcks()), kgo.DisableIdempotentWrite()}},
		{"idempotent", nil},
	}
	headers = []kgo.RecordHeader{
		{Key: "a", Value: []byte("1")}, {Key: "a", Value: []byte("2")}, {Key: "empty", Value: []byte{}},
	}
	address string
	checks  int
)

func main() {
	log.SetFlags(0)
	task, rest := os.Args[1], os.Args[3:]
	address = os.Args[2]
	switch task {
	case "work":
		matrix()
		hashing(rest[0])
		nulls()
	case "read":
		readAll(rest)
	case "group":
		for _, balancer := range []kgo.GroupBalancer{
			kgo.RangeBalancer(), kgo.RoundRobinBalancer(), kgo.StickyBalancer(),
			kgo.CooperativeStickyBalancer(),
		} {
			rebalance(rest[0]+"-"+balancer.ProtocolName(), balancer)
		}
		fmt.Println("feature alone")
		fmt.Println("feature rebalance")
		commit(rest[0] + "-commit")
		seek(rest[0] + "-seek")
		admin(rest[0] + "-admin")
	case "member":
		belong(rest[0], rest[1])
		return
	}
	fmt.Println("checks", checks)
}

func must[T any](value T, err error) T {
	no(err)
	return value
}

func no(err error) {
	if err != nil {
		fail("%v", err)
	}
}

func fail(format string, arguments ...any) {
	log.Printf(format, arguments...)
	debug.PrintStack()
	os.Exit(1)
}

func same(what string, seen, expected any) {
	if !reflect.DeepEqual(seen, expected) {
		fail("%s differs from what is expected\nseen: %v\nexpected: %v", what, seen, expected)
	}
	checks++
}

// Whether it is this error, which may be wrapped.
func fails(what string, seen, expected error) {
	if !errors.Is(seen, expected) {
		fail("%s: seen: %v\nexpected: %v", what, seen, expected)
	}
	checks++
}

func until(what string, isDone func() bool) {
	deadline := time.Now().Add(timeout)
	for !isDone() {
		if time.Now().After(deadline) {
			fail("not done in %v: %s", timeout, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
	checks++
}

// For one call.
func limited() context.Context {
	within, end := context.WithTimeout(context.Background(), timeout)
	time.AfterFunc(timeout, end)
	return within
}

func client(options ...kgo.Opt) *kgo.Client {
	return must(kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(address),
		kgo.AllowAutoTopicCreation(),
		kgo.FetchMaxWait(50 * time.Millisecond),
	}, options...)...))
}

func record(topic string, number int) *kgo.Record {
	value := fmt.Sprintf("value-%05d and on and on and on and on and on and on", number)
	key := fmt.Sprintf("key-%05d", number)
	return &kgo.Record{Topic: topic, Key: []byte(key), Value: []byte(value), Headers: headers}
}

func produce(options []kgo.Opt, messages ...*kgo.Record) {
	producer := client(options...)
	defer producer.Close()
	no(producer.ProduceSync(limited(), messages...).FirstErr())
}

// What these partitions have at least, from where the consumer is, in the order in which it came.
func take(consumer *kgo.Client, count int) []*kgo.Record {
	var taken []*kgo.Record
	within := limited()
	for len(taken) < count {
		fetches := consumer.PollFetches(within)
		if err := fetches.Err(); err != nil {
			fail("%d of %d records came: %v", len(taken), count, err)
		}
		taken = append(taken, fetches.Records()...)
	}
	same("number of records", len(taken), count)
	return taken
}

func matrix() {
	for _, codec := range codecs {
		for _, acks := range acks {
			topic := fmt.Sprintf("franz-go-%s-%s", codec.name, acks.name)
			producer := client(append(acks.options, kgo.ProducerBatchCompression(codec.codec))...)
			for begin := 0; begin < records; begin += 50 {
				var messages []*kgo.Record
				for at := begin; at < begin+50; at++ {
					messages = append(messages, record(topic, at))
				}
				no(producer.ProduceSync(limited(), messages...).FirstErr())
				for at, message := range messages {
					if acks.name != "0" && message.Offset != int64(begin+at) {
						fail("%s: record %d has offset %d", topic, begin+at, message.Offset)
					}
				}
			}
			// What was produced with acks of 0 may still be on its way.
			admin := kadm.NewClient(producer)
			until("all is in "+topic, func() bool { return end(admin, topic) == records })
			admin.Close()
			fmt.Println("topic", topic)
		}
	}
}

func end(admin *kadm.Client, topic string) int64 {
	offset, _ := must(admin.ListEndOffsets(limited(), topic)).Lookup(topic, 0)
	no(offset.Err)
	return offset.Offset
}

// The records of the matrix in all these topics, which are fetched together.
func readAll(topics []string) {
	places := make(map[string]map[int32]kgo.Offset)
	for _, topic := range topics {
		places[topic] = map[int32]kgo.Offset{0: kgo.NewOffset().AtStart()}
	}
	consumer := client(kgo.ConsumePartitions(places))
	admin := kadm.NewClient(consumer)
	defer admin.Close()
	next := make(map[string]int)
	for _, message := range take(consumer, records*len(topics)) {
		if number := next[message.Topic]; !isRecord(message, number) {
			fail("%s: record %d differs: %+v", message.Topic, number, message)
		}
		next[message.Topic]++
	}
	for _, topic := range topics {
		same("records of "+topic, next[topic], records)
		same(topic+"'s end", end(admin, topic), int64(records))
	}
	fmt.Println("records", records*len(topics))
}

func isRecord(message *kgo.Record, number int) bool {
	expected := record(message.Topic, number)
	return message.Offset == int64(number) && bytes.Equal(message.Key, expected.Key) &&
		bytes.Equal(message.Value, expected.Value) &&
		slices.EqualFunc(message.Headers, headers, func(seen, expected kgo.RecordHeader) bool {
			return seen.Key == expected.Key && bytes.Equal(seen.Value, expected.Value)
		})
}

// By default franz-go hashes as Java does, and as Sarama does if it is told to.
func hashing(vectors string) {
	const partitions = 12
	rows := strings.Split(string(must(os.ReadFile(vectors))), "\n")
	for _, like := range []struct {
		name   string
		column int
		hasher kgo.PartitionerHasher
	}{
		{"java", 3, nil}, {"sarama", 2, kgo.SaramaCompatHasher(fnv32a)},
	} {
		topic := "franz-go-hashing-" + like.name
		create(topic, partitions)
		var messages []*kgo.Record
		var expected []string
		for _, line := range rows {
			row := strings.Split(line, "\t")
			if len(row) > like.column && row[1] == strconv.Itoa(partitions) {
				key := must(hex.DecodeString(row[0]))
				messages = append(messages, &kgo.Record{Topic: topic, Key: key})
				expected = append(expected, row[like.column])
			}
		}
		if len(messages) < 50 {
			fail("there are only %d vectors", len(messages))
		}
		partitioner := kgo.StickyKeyPartitioner(like.hasher)
		produce([]kgo.Opt{kgo.RecordPartitioner(partitioner)}, messages...)
		for at, message := range messages {
			same("partition of a key", strconv.Itoa(int(message.Partition)), expected[at])
		}
	}
}

func fnv32a(key []byte) uint32 {
	hash := uint32(2166136261)
	for _, byte := range key {
		hash = (hash ^ uint32(byte)) * 16777619
	}
	return hash
}

func nulls() {
	const topic = "franz-go-nulls"
	produce(nil, &kgo.Record{Topic: topic, Value: []byte("no key")})
	produce(nil, &kgo.Record{Topic: topic, Key: []byte("no value")})
	produce(nil, &kgo.Record{Topic: topic, Key: []byte{}, Value: []byte{}})
	consumer := client(kgo.ConsumeTopics(topic))
	defer consumer.Close()
	taken := take(consumer, 3)
	same("null key", taken[0].Key == nil && string(taken[0].Value) == "no key", true)
	same("null value", string(taken[1].Key) == "no value" && taken[1].Value == nil, true)
	isEmpty := func(bytes []byte) bool { return bytes != nil && len(bytes) == 0 }
	same("empty", isEmpty(taken[2].Key) && isEmpty(taken[2].Value), true)
}

func create(topic string, partitions int32) {
	admin := kadm.NewClient(client())
	defer admin.Close()
	must(admin.CreateTopic(limited(), partitions, 3, nil, topic))
}

// Records with the numbers as values, one partition after the other, a second apart.
func produceNumbers(topic string, partitions, from, to int) {
	var messages []*kgo.Record
	for at := from; at < to; at++ {
		messages = append(messages, &kgo.Record{
			Topic: topic, Partition: int32(at % partitions), Value: []byte(strconv.Itoa(at)),
			Timestamp: time.UnixMilli(firstTime + 1000*int64(at)),
		})
	}
	produce([]kgo.Opt{kgo.RecordPartitioner(kgo.ManualPartitioner())}, messages...)
}

func number(message *kgo.Record) int { return must(strconv.Atoi(string(message.Value))) }

func numbers(messages []*kgo.Record) []int {
	var all []int
	for _, message := range messages {
		all = append(all, number(message))
	}
	slices.Sort(all)
	return all
}

func from(begin, end int) []int {
	var all []int
	for at := begin; at < end; at++ {
		all = append(all, at)
	}
	return all
}

func inGroup(group, topic string, options ...kgo.Opt) *kgo.Client {
	return client(append([]kgo.Opt{
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(),
		kgo.SessionTimeout(6 * time.Second), kgo.HeartbeatInterval(100 * time.Millisecond),
	}, options...)...)
}

// A member that reads all it gets, and commits it.
type member struct {
	client *kgo.Client
	done   chan struct{}
	mutex  sync.Mutex // of what follows
	held   map[int32]bool
	read   []*kgo.Record
}

func join(group, topic string, balancer kgo.GroupBalancer) *member {
	it := &member{done: make(chan struct{}), held: make(map[int32]bool)}
	lose := func(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
		it.mutex.Lock()
		defer it.mutex.Unlock()
		for _, partition := range lost[topic] {
			delete(it.held, partition)
		}
	}
	get := func(_ context.Context, _ *kgo.Client, got map[string][]int32) {
		it.mutex.Lock()
		defer it.mutex.Unlock()
		for _, partition := range got[topic] {
			it.held[partition] = true
		}
	}
	it.client = inGroup(group, topic, kgo.Balancers(balancer), kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(get), kgo.OnPartitionsRevoked(lose), kgo.OnPartitionsLost(lose))
	go it.run()
	return it
}

func (it *member) run() {
	defer close(it.done)
	for {
		fetches := it.client.PollFetches(context.Background())
		if fetches.IsClientClosed() {
			return
		}
		no(fetches.Err())
		no(it.client.CommitUncommittedOffsets(limited()))
		it.mutex.Lock()
		it.read = append(it.read, fetches.Records()...)
		it.mutex.Unlock()
		it.client.AllowRebalance()
	}
}

func (it *member) leave() {
	it.client.CloseAllowingRebalance()
	<-it.done
}

func (it *member) holds() []int32 {
	it.mutex.Lock()
	defer it.mutex.Unlock()
	return slices.Sorted(maps.Keys(it.held))
}

func (it *member) has() []*kgo.Record {
	it.mutex.Lock()
	defer it.mutex.Unlock()
	return slices.Clone(it.read)
}

// One member alone, one more, and one alone again, with one way to share out partitions.
func rebalance(name string, balancer kgo.GroupBalancer) {
	create(name, 3)
	first := join(name, name, balancer)
	produceNumbers(name, 3, 0, 30)
	until("the first has all", func() bool { return len(first.has()) >= 30 })
	same("what it has", numbers(first.has()), from(0, 30))
	same("what it holds", first.holds(), []int32{0, 1, 2})

	second := join(name, name, balancer)
	until("they share", func() bool {
		held, more := first.holds(), second.holds()
		all := slices.Concat(held, more)
		slices.Sort(all)
		return len(held) > 0 && len(more) > 0 && slices.Equal(all, []int32{0, 1, 2})
	})
	firsts, seconds := first.holds(), second.holds()
	produceNumbers(name, 3, 30, 90)
	until("both have all", func() bool { return len(first.has())+len(second.has()) >= 90 })
	same("what both have", numbers(slices.Concat(first.has(), second.has())), from(0, 90))
	for _, message := range first.has()[30:] {
		same("whose it is", slices.Contains(firsts, message.Partition), true)
	}
	for _, message := range second.has() {
		same("whose it is", slices.Contains(seconds, message.Partition), true)
	}

	first.leave()
	until("the second has all", func() bool { return len(second.holds()) == 3 })
	produceNumbers(name, 3, 90, 120)
	until("it reads all", func() bool { return len(first.has())+len(second.has()) >= 120 })
	second.leave()
	same("all, once", numbers(slices.Concat(first.has(), second.has())), from(0, 120))
}

func commit(name string) {
	create(name, 3)
	produceNumbers(name, 3, 0, 30)
	reader := inGroup(name, name)
	take(reader, 30)
	committed := map[string]map[int32]kgo.EpochOffset{name: {
		0: {Epoch: -1, Offset: 4}, 1: {Epoch: -1, Offset: 10}, 2: {Epoch: -1, Offset: 1},
	}}
	reader.CommitOffsetsSync(limited(), committed, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest,
		answer *kmsg.OffsetCommitResponse, err error) {
		no(err)
		for _, partition := range answer.Topics[0].Partitions {
			no(kerr.ErrorForCode(partition.ErrorCode))
		}
	})
	same("what the member has committed", reader.CommittedOffsets(), committed)
	reader.Close()

	admin := kadm.NewClient(client())
	defer admin.Close()
	told := must(admin.FetchOffsets(limited(), name))
	offsets := make(map[int32]int64)
	told.Each(func(it kadm.OffsetResponse) {
		no(it.Err)
		offsets[it.Partition] = it.At
	})
	same("what the group has committed", offsets, map[int32]int64{0: 4, 1: 10, 2: 1})

	reader = inGroup(name, name)
	next := maps.Clone(offsets)
	for _, message := range take(reader, 15) {
		same("where it goes on", message.Offset, next[message.Partition])
		next[message.Partition]++
	}
	no(reader.CommitUncommittedOffsets(limited()))
	lag := must(admin.Lag(limited(), name))[name]
	no(lag.Error())
	same("lag", lag.Lag.Total(), int64(0))
	reader.Close()

	// Offsets may also be set for a group without members.
	reset := make(kadm.Offsets)
	for partition := range int32(3) {
		reset.AddOffset(name, partition, 9, -1)
	}
	no(admin.CommitAllOffsets(limited(), name, reset))
	reader = inGroup(name, name)
	same("what remains", numbers(take(reader, 3)), []int{27, 28, 29})
	reader.Close()
	fmt.Println("feature commit")
}

func seek(name string) {
	create(name, 3)
	produceNumbers(name, 3, 0, 90)
	consumer := client(kgo.ConsumeTopics(name),
		kgo.ConsumeResetOffset(kgo.NewOffset().AfterMilli(firstTime+44_500)))
	admin := kadm.NewClient(consumer)
	for after, expected := range map[int64][]int64{
		-1: {0, 0, 0}, 0: {0, 0, 0}, 1: {1, 0, 0}, 45_000: {15, 15, 15}, 45_001: {16, 15, 15},
		// At the end if there is nothing so late.
		88_000: {30, 29, 29}, 88_001: {30, 30, 29}, 90_000: {30, 30, 30},
	} {
		found := must(admin.ListOffsetsAfterMilli(limited(), firstTime+after, name))
		no(found.Error())
		for partition, offset := range expected {
			it, _ := found.Lookup(name, int32(partition))
			same(fmt.Sprintf("partition %d at %d ms", partition, after), it.Offset, offset)
		}
	}
	same("from a time on", numbers(take(consumer, 45)), from(45, 90))
	admin.Close()

	// In a group: forwards and back again.
	reader := inGroup(name, name)
	take(reader, 90)
	for _, offset := range []int64{20, 5} {
		places := make(map[int32]kgo.EpochOffset)
		for partition := range int32(3) {
			places[partition] = kgo.EpochOffset{Epoch: -1, Offset: offset}
		}
		reader.SetOffsets(map[string]map[int32]kgo.EpochOffset{name: places})
		begin := int(offset) * 3
		same("from an offset on", numbers(take(reader, 90-begin)), from(begin, 90))
	}
	reader.Close()
	fmt.Println("feature seek")
}

func admin(name string) {
	admin := kadm.NewClient(client())
	defer admin.Close()
	hour, large, long := "3600000", "2000000", "long"
	setting := func(key string) string {
		described := must(must(admin.DescribeTopicConfigs(limited(), name)).On(name, nil))
		no(described.Err)
		for _, config := range described.Configs {
			if config.Key == key {
				return config.MaybeValue() + " " + config.Source.String()
			}
		}
		return "none"
	}
	settings := map[string]*string{"retention.ms": &hour}
	must(admin.CreateTopic(limited(), 2, 1, settings, name))
	_, err := admin.CreateTopic(limited(), 2, 1, nil, name)
	fails("creation again", err, kerr.TopicAlreadyExists)
	_, err = admin.CreateTopic(limited(), 1, 1, map[string]*string{"retention.ms": &long}, name+"-x")
	fails("a wrong setting", err, kerr.InvalidConfig)
	same("as created", setting("retention.ms"), "3600000 DYNAMIC_TOPIC_CONFIG")
	same("a default", setting("cleanup.policy"), "delete DEFAULT_CONFIG")

	alter := func(topic string, configs ...kadm.AlterConfig) error {
		told := must(admin.AlterTopicConfigs(limited(), configs, topic))
		return must(told.On(topic, nil)).Err
	}
	no(alter(name, kadm.AlterConfig{Op: kadm.SetConfig, Name: "max.message.bytes", Value: &large}))
	same("as altered", setting("max.message.bytes"), "2000000 DYNAMIC_TOPIC_CONFIG")
	same("as it was", setting("retention.ms"), "3600000 DYNAMIC_TOPIC_CONFIG")
	no(alter(name, kadm.AlterConfig{Op: kadm.DeleteConfig, Name: "max.message.bytes"}))
	same("no more set", strings.HasSuffix(setting("max.message.bytes"), " DEFAULT_CONFIG"), true)
	compact := "compact"
	no(alter(name, kadm.AlterConfig{Op: kadm.AppendConfig, Name: "cleanup.policy", Value: &compact}))
	same("appended to", setting("cleanup.policy"), "delete,compact DYNAMIC_TOPIC_CONFIG")
	no(alter(name, kadm.AlterConfig{Op: kadm.SubtractConfig, Name: "cleanup.policy", Value: &compact}))
	same("taken away", setting("cleanup.policy"), "delete DYNAMIC_TOPIC_CONFIG")
	err = alter(name, kadm.AlterConfig{Op: kadm.SetConfig, Name: "retention.ms", Value: &long})
	fails("a wrong value", err, kerr.InvalidConfig)
	err = alter(name+"-none", kadm.AlterConfig{Op: kadm.SetConfig, Name: "retention.ms", Value: &large})
	fails("settings of an unknown topic", err, kerr.UnknownTopicOrPartition)
	// The older request replaces all settings.
	state := []kadm.AlterConfig{{Name: "max.message.bytes", Value: &large}}
	told := must(admin.AlterTopicConfigsState(limited(), state, name))
	no(must(told.On(name, nil)).Err)
	same("not in the new state", strings.HasSuffix(setting("retention.ms"), " DEFAULT_CONFIG"), true)
	same("in the new state", setting("max.message.bytes"), "2000000 DYNAMIC_TOPIC_CONFIG")

	update := func(topic string, partitions int) error {
		told := must(admin.UpdatePartitions(limited(), partitions, topic))
		return must(told.On(topic, nil)).Err
	}
	no(update(name, 3))
	fails("fewer partitions", update(name, 1), kerr.InvalidPartitions)
	fails("as many", update(name, 3), kerr.InvalidPartitions)
	fails("of an unknown topic", update(name+"-none", 3), kerr.UnknownTopicOrPartition)
	topics := must(admin.ListTopics(limited(), name))
	same("partitions", len(topics[name].Partitions), 3)
	same("an id", topics[name].ID != kadm.TopicID{}, true)

	produceNumbers(name, 3, 0, 30)
	deleteBefore := func(partition int32, offset int64) kadm.DeleteRecordsResponse {
		offsets := make(kadm.Offsets)
		offsets.AddOffset(name, partition, offset, -1)
		return must(must(admin.DeleteRecords(limited(), offsets)).On(name, partition, nil))
	}
	deleted := deleteBefore(1, 7)
	no(deleted.Err)
	same("the first that is left", deleted.LowWatermark, int64(7))
	deleted = deleteBefore(2, -1)
	no(deleted.Err)
	same("none is left", deleted.LowWatermark, int64(10))
	fails("beyond the end", deleteBefore(0, 11).Err, kerr.OffsetOutOfRange)
	start, _ := must(admin.ListStartOffsets(limited(), name)).Lookup(name, 1)
	same("where it begins", start.Offset, int64(7))
	consumer := client(kgo.ConsumeTopics(name))
	same("records that are left", len(take(consumer, 13)), 13)
	consumer.Close()

	groups(admin, name)

	_, err = admin.DeleteTopic(limited(), name)
	no(err)
	_, err = admin.DeleteTopic(limited(), name)
	fails("deletion again", err, kerr.UnknownTopicOrPartition)
	// Without AllowAutoTopicCreation, for the topic not to come back.
	other := must(kgo.NewClient(kgo.SeedBrokers(address), kgo.UnknownTopicRetries(0)))
	defer other.Close()
	err = other.ProduceSync(limited(), record(name, 0)).FirstErr()
	fails("to a topic that is gone", err, kerr.UnknownTopicOrPartition)
	fmt.Println("feature admin")
}

func groups(admin *kadm.Client, name string) {
	member := inGroup(name, name, kgo.InstanceID("one"), kgo.Balancers(kgo.RangeBalancer()))
	take(member, 13)
	no(member.CommitUncommittedOffsets(limited()))
	listed := must(admin.ListGroups(limited(), "Stable"))[name]
	same("as it is listed", []string{listed.State, listed.ProtocolType}, []string{"Stable", "consumer"})
	described := must(admin.DescribeGroups(limited(), name))[name]
	no(described.Err)
	same("as it is described", []string{described.State, described.ProtocolType, described.Protocol},
		[]string{"Stable", "consumer", "range"})
	same("members", len(described.Members), 1)
	same("its instance", *described.Members[0].InstanceID, "one")
	held := described.AssignedPartitions().Sorted()
	same("what they hold", fmt.Sprint(held), fmt.Sprintf("[{%s [0 1 2]}]", name))

	_, err := admin.DeleteGroup(limited(), name)
	fails("deletion of a group with members", err, kerr.NonEmptyGroup)
	place := make(kadm.TopicsSet)
	place.Add(name, 1)
	told := must(admin.DeleteOffsets(limited(), name, place))
	fails("deletion of an offset in use", told[name][1], kerr.GroupSubscribedToTopic)

	// A static member stays when its client is closed, and leaves by its name.
	member.Close()
	left := must(admin.LeaveGroup(limited(), kadm.LeaveGroup(name).InstanceIDs("one")))
	no(left.Error())
	same("without members", must(admin.DescribeGroups(limited(), name))[name].State, "Empty")
	no(must(admin.DeleteOffsets(limited(), name, place)).Error())
	// Of partition 2 no record was left to be read.
	remaining := must(admin.FetchOffsets(limited(), name))[name]
	same("offsets that are left", slices.Collect(maps.Keys(remaining)), []int32{0})
	must(admin.DeleteGroup(limited(), name))
	_, err = admin.DeleteGroup(limited(), name)
	fails("deletion again", err, kerr.GroupIDNotFound)
	_, isThere := must(admin.ListGroups(limited()))[name]
	same("in the list", isThere, false)
	same("once it is gone", must(admin.DescribeGroups(limited(), name))[name].State, "Dead")
}

// Commits each poll's records before the next, and before it lets go of partitions.
func belong(group, topic string) {
	running, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	reader := inGroup(group, topic, kgo.Balancers(kgo.RangeBalancer()), kgo.BlockRebalanceOnPoll())
	for running.Err() == nil {
		fetches := reader.PollFetches(running)
		fetches.EachError(func(topic string, partition int32, err error) {
			var lost *kgo.ErrGroupSession
			if errors.As(err, &lost) {
				log.Print(err) // franz-go joins again.
			} else if !errors.Is(err, context.Canceled) {
				fail("%s-%d: %v", topic, partition, err)
			}
		})
		fetches.EachRecord(func(message *kgo.Record) {
			fmt.Println("record", message.Partition, message.Offset)
		})
		no(reader.CommitUncommittedOffsets(limited()))
		reader.AllowRebalance()
	}
	reader.CloseAllowingRebalance()
}
