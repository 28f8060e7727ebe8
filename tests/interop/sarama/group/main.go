// What Sarama's consumer groups have to see, or fail: called by ../run, which says what for.
//
//	check group ADDRESS PREFIX           groups and administration
//	check member ADDRESS GROUP TOPIC     reads TOPIC as a member of GROUP until SIGTERM
//	check notifications ADDRESS PREFIX   a notification service: messages to users, each in order
//
// What is created begins with PREFIX.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"log"
	"maps"
	"os"
	"os/signal"
	"reflect"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/IBM/sarama"
)

const (
	timeout = 30 * time.Second // for anything
	// Of the first record whose time is given; each is a second later than the one before.
	firstTime = 1_700_000_000_000
)

var (
	// As whose clients Sarama behaves. The default speaks to Kafka 2.8.
	versions = []sarama.KafkaVersion{
		sarama.V1_0_0_0, sarama.DefaultVersion, sarama.V3_6_0_0, sarama.MaxVersion,
	}
	addresses []string
	checks    int
)

func main() {
	log.SetFlags(0)
	task, rest := os.Args[1], os.Args[3:]
	addresses = os.Args[2:3]
	switch task {
	case "group":
		for _, version := range versions {
			for _, strategy := range strategies(version) {
				name := fmt.Sprintf("%s-%s-%s", rest[0], version, strategy().Name())
				rebalance(version, name, strategy)
			}
		}
		fmt.Println("feature alone")
		fmt.Println("feature rebalance")
		for _, version := range versions {
			commit(version, fmt.Sprintf("%s-%s-commit", rest[0], version))
		}
		fmt.Println("feature commit")
		for _, version := range versions {
			seek(version, fmt.Sprintf("%s-%s-seek", rest[0], version))
		}
		fmt.Println("feature seek")
		// What is altered alone, not all settings, came with Kafka 2.3.
		for _, version := range versions[1:] {
			administer(version, fmt.Sprintf("%s-%s-admin", rest[0], version))
		}
		fmt.Println("feature admin")
	case "member":
		belong(rest[0], rest[1])
		return
	case "notifications":
		notifications(rest[0] + "-notifications")
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
		fail("%s\nseen: %v\nexpected: %v", what, seen, expected)
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

func config(version sarama.KafkaVersion) *sarama.Config {
	config := sarama.NewConfig()
	config.Version = version
	config.Producer.Return.Successes = true
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Consumer.Return.Errors = true
	// Sarama asks on the connection on which a fetch waits.
	config.Consumer.MaxWaitTime = 20 * time.Millisecond
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Group.Session.Timeout = 6 * time.Second
	config.Consumer.Group.Heartbeat.Interval = 100 * time.Millisecond
	return config
}

// The ways to share out partitions. A strategy has state: each member has its own.
func strategies(version sarama.KafkaVersion) []func() sarama.BalanceStrategy {
	all := []func() sarama.BalanceStrategy{
		sarama.NewBalanceStrategyRange, sarama.NewBalanceStrategyRoundRobin,
		sarama.NewBalanceStrategySticky,
	}
	if version.IsAtLeast(sarama.V2_4_0_0) {
		all = append(all, sarama.NewBalanceStrategyCooperativeSticky)
	}
	return all
}

func create(version sarama.KafkaVersion, topic string, partitions int32) {
	admin := must(sarama.NewClusterAdmin(addresses, config(version)))
	detail := &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 3}
	no(admin.CreateTopic(topic, detail, false))
	no(admin.Close())
}

// Records with the numbers as values, one partition after the other, a second apart.
func produceNumbers(version sarama.KafkaVersion, topic string, partitions, from, to int) {
	var messages []*sarama.ProducerMessage
	for at := from; at < to; at++ {
		messages = append(messages, &sarama.ProducerMessage{
			Topic: topic, Partition: int32(at % partitions),
			Value:     sarama.StringEncoder(strconv.Itoa(at)),
			Timestamp: time.UnixMilli(firstTime + 1000*int64(at)),
		})
	}
	producer, end := newProducer(config(version))
	no(producer.SendMessages(messages))
	end()
}

// A producer whose connection is there before it begins. While it connects, Sarama may close a
// connection on which a first request waits, and then repeats the request, as it does with Apache
// Kafka: records are twice there if the producer is not idempotent.
func newProducer(config *sarama.Config) (sarama.SyncProducer, func()) {
	client := must(sarama.NewClient(addresses, config))
	for _, broker := range client.Brokers() {
		if err := broker.Open(config); !errors.Is(err, sarama.ErrAlreadyConnected) {
			no(err)
		}
		must(broker.Connected())
	}
	producer := must(sarama.NewSyncProducerFromClient(client))
	return producer, func() {
		no(producer.Close())
		no(client.Close())
	}
}

func numbers(messages []*sarama.ConsumerMessage) []int {
	var all []int
	for _, message := range messages {
		all = append(all, must(strconv.Atoi(string(message.Value))))
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

// A member reads until it is told to leave.
type member struct {
	setup func(sarama.ConsumerGroupSession) // before it reads; may be nil
	each  func(sarama.ConsumerGroupSession, *sarama.ConsumerMessage)
	group sarama.ConsumerGroup
	end   context.CancelFunc
	done  chan struct{}
	mutex sync.Mutex // of what follows
	held  map[int32]bool
	read  []*sarama.ConsumerMessage
}

// What is marked is committed each second, and when partitions are let go of.
func mark(session sarama.ConsumerGroupSession, message *sarama.ConsumerMessage) {
	session.MarkMessage(message, "")
}

func join(config *sarama.Config, group, topic string, setup func(sarama.ConsumerGroupSession),
	each func(sarama.ConsumerGroupSession, *sarama.ConsumerMessage)) *member {
	running, end := context.WithCancel(context.Background())
	it := &member{
		setup: setup, each: each, end: end, done: make(chan struct{}), held: make(map[int32]bool),
		group: must(sarama.NewConsumerGroup(addresses, group, config)),
	}
	go func() {
		for err := range it.group.Errors() {
			fail("%v", err)
		}
	}()
	go func() {
		defer close(it.done)
		for running.Err() == nil { // Once for each generation of the group, unless it cooperates.
			no(it.group.Consume(running, []string{topic}, it))
		}
	}()
	return it
}

func (it *member) leave() {
	it.end()
	<-it.done
	no(it.group.Close())
}

func (it *member) Setup(session sarama.ConsumerGroupSession) error {
	if it.setup != nil {
		it.setup(session)
	}
	return nil
}

func (it *member) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (it *member) ConsumeClaim(session sarama.ConsumerGroupSession,
	claim sarama.ConsumerGroupClaim) error {
	it.hold(claim.Partition(), true)
	defer it.hold(claim.Partition(), false)
	for {
		select {
		case message, isOpen := <-claim.Messages():
			if !isOpen {
				return nil
			}
			it.each(session, message)
			it.mutex.Lock()
			it.read = append(it.read, message)
			it.mutex.Unlock()
		case <-session.Context().Done():
			return nil
		}
	}
}

func (it *member) hold(partition int32, isHeld bool) {
	it.mutex.Lock()
	defer it.mutex.Unlock()
	if isHeld {
		it.held[partition] = true
	} else {
		delete(it.held, partition)
	}
}

func (it *member) holds() []int32 {
	it.mutex.Lock()
	defer it.mutex.Unlock()
	return slices.Sorted(maps.Keys(it.held))
}

func (it *member) has() []*sarama.ConsumerMessage {
	it.mutex.Lock()
	defer it.mutex.Unlock()
	return slices.Clone(it.read)
}

func (it *member) take(count int) []*sarama.ConsumerMessage {
	until(fmt.Sprintf("%d records came", count), func() bool { return len(it.has()) >= count })
	return it.has()
}

// One member alone, one more, and one alone again, with one way to share out partitions.
func rebalance(version sarama.KafkaVersion, name string, strategy func() sarama.BalanceStrategy) {
	create(version, name, 3)
	another := func() *member {
		config := config(version)
		config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{strategy()}
		return join(config, name, name, nil, mark)
	}
	first := another()
	produceNumbers(version, name, 3, 0, 30)
	same("what the first has", numbers(first.take(30)), from(0, 30))
	same("what it holds", first.holds(), []int32{0, 1, 2})

	second := another()
	until("they share", func() bool {
		held, more := first.holds(), second.holds()
		all := slices.Concat(held, more)
		slices.Sort(all)
		return len(held) > 0 && len(more) > 0 && slices.Equal(all, []int32{0, 1, 2})
	})
	firsts, seconds := first.holds(), second.holds()
	produceNumbers(version, name, 3, 30, 90)
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
	produceNumbers(version, name, 3, 90, 120)
	until("it reads all", func() bool { return len(first.has())+len(second.has()) >= 120 })
	second.leave()
	same("all, once", numbers(slices.Concat(first.has(), second.has())), from(0, 120))
}

func commit(version sarama.KafkaVersion, name string) {
	create(version, name, 3)
	produceNumbers(version, name, 3, 0, 30)
	committed := map[int32]int64{0: 4, 1: 10, 2: 1}
	explicit := config(version)
	explicit.Consumer.Offsets.AutoCommit.Enable = false
	reader := join(explicit, name, name, nil,
		func(session sarama.ConsumerGroupSession, message *sarama.ConsumerMessage) {
			if message.Offset < committed[message.Partition] {
				session.MarkMessage(message, "so far")
				session.Commit()
			}
		})
	reader.take(30)
	reader.leave()

	admin := must(sarama.NewClusterAdmin(addresses, config(version)))
	told := must(admin.ListConsumerGroupOffsets(name, map[string][]int32{name: {0, 1, 2}}))
	fails("offsets of the group", told.Err, sarama.ErrNoError)
	for partition, offset := range committed {
		block := told.GetBlock(name, partition)
		fails("an offset", block.Err, sarama.ErrNoError)
		same("an offset", block.Offset, offset)
		same("what is said of it", block.Metadata, "so far")
	}
	no(admin.Close())

	reader = join(config(version), name, name, nil, mark)
	for _, message := range reader.take(15) {
		same("where it goes on", message.Offset, committed[message.Partition])
		committed[message.Partition]++
	}
	same("where it ends", committed, map[int32]int64{0: 10, 1: 10, 2: 10})
	reader.leave()
}

func seek(version sarama.KafkaVersion, name string) {
	create(version, name, 3)
	produceNumbers(version, name, 3, 0, 90)
	client := must(sarama.NewClient(addresses, config(version)))
	for after, expected := range map[int64][]int64{
		-1: {0, 0, 0}, 0: {0, 0, 0}, 1: {1, 0, 0}, 45_000: {15, 15, 15}, 45_001: {16, 15, 15},
		// None if there is nothing so late.
		88_000: {-1, 29, 29}, 88_001: {-1, -1, 29}, 90_000: {-1, -1, -1},
	} {
		for partition, offset := range expected {
			found := must(client.GetOffset(name, int32(partition), firstTime+after))
			same(fmt.Sprintf("partition %d at %d ms", partition, after), found, offset)
		}
	}
	var read []*sarama.ConsumerMessage
	consumer := must(sarama.NewConsumerFromClient(client))
	for partition := range int32(3) {
		offset := must(client.GetOffset(name, partition, firstTime+44_500))
		reader := must(consumer.ConsumePartition(name, partition, offset))
		for range 15 {
			select {
			case message := <-reader.Messages():
				read = append(read, message)
			case <-time.After(timeout):
				fail("partition %d: nothing came in %v", partition, timeout)
			}
		}
		no(reader.Close())
	}
	same("from a time on", numbers(read), from(45, 90))
	no(consumer.Close())
	no(client.Close())

	// A group is moved forwards by marks, and back by resets.
	for _, move := range []struct {
		to int64
		by func(sarama.ConsumerGroupSession, int32)
	}{
		{20, func(it sarama.ConsumerGroupSession, at int32) { it.MarkOffset(name, at, 20, "") }},
		{5, func(it sarama.ConsumerGroupSession, at int32) { it.ResetOffset(name, at, 5, "") }},
	} {
		reader := join(config(version), name, name, func(session sarama.ConsumerGroupSession) {
			for _, partition := range session.Claims()[name] {
				move.by(session, partition)
			}
		}, mark)
		begin := int(move.to) * 3
		same("from an offset on", numbers(reader.take(90-begin)), from(begin, 90))
		reader.leave()
	}
}

func administer(version sarama.KafkaVersion, name string) {
	admin := must(sarama.NewClusterAdmin(addresses, config(version)))
	hour, large, long := "3600000", "2000000", "long"
	resource := sarama.ConfigResource{Type: sarama.TopicResource, Name: name}
	setting := func(name string) string {
		for _, entry := range must(admin.DescribeConfig(resource)) {
			if entry.Name == name {
				return fmt.Sprint(entry.Value, " ", entry.Source)
			}
		}
		return "none"
	}
	detail := &sarama.TopicDetail{NumPartitions: 2, ReplicationFactor: 1,
		ConfigEntries: map[string]*string{"retention.ms": &hour}}
	no(admin.CreateTopic(name, detail, false))
	fails("creation again", admin.CreateTopic(name, detail, false), sarama.ErrTopicAlreadyExists)
	same("as created", setting("retention.ms"), "3600000 Topic")
	same("a default", setting("cleanup.policy"), "delete Default")

	alter := func(topic, name string, value *string, how sarama.IncrementalAlterConfigsOperation,
	) error {
		entries := map[string]sarama.IncrementalAlterConfigsEntry{
			name: {Operation: how, Value: value},
		}
		return admin.IncrementalAlterConfig(sarama.TopicResource, topic, entries, false)
	}
	set := sarama.IncrementalAlterConfigsOperationSet
	no(alter(name, "max.message.bytes", &large, set))
	same("as altered", setting("max.message.bytes"), "2000000 Topic")
	same("as it was", setting("retention.ms"), "3600000 Topic")
	no(alter(name, "retention.ms", nil, sarama.IncrementalAlterConfigsOperationDelete))
	same("the default again", setting("retention.ms"), "604800000 Default")
	fails("a wrong value", alter(name, "retention.ms", &long, set), sarama.ErrInvalidConfig)
	fails("settings of an unknown topic", alter(name+"-none", "retention.ms", &hour, set),
		sarama.ErrUnknownTopicOrPartition)
	// The older request replaces all settings.
	no(admin.AlterConfig(sarama.TopicResource, name, detail.ConfigEntries, false))
	same("in the new state", setting("retention.ms"), "3600000 Topic")
	same("not in the new state", setting("max.message.bytes"), "1048588 Default")

	no(admin.CreatePartitions(name, 3, nil, false))
	err := admin.CreatePartitions(name, 1, nil, false)
	fails("fewer partitions", err, sarama.ErrInvalidPartitions)
	err = admin.CreatePartitions(name+"-none", 3, nil, false)
	fails("partitions of an unknown topic", err, sarama.ErrUnknownTopicOrPartition)
	same("partitions", must(admin.ListTopics())[name].NumPartitions, int32(3))

	produceNumbers(version, name, 3, 0, 30)
	no(admin.DeleteRecords(name, map[int32]int64{1: 7, 2: -1}))
	err = admin.DeleteRecords(name, map[int32]int64{0: 11})
	fails("records beyond the end", err, sarama.ErrOffsetOutOfRange)
	client := must(sarama.NewClient(addresses, config(version)))
	var starts []int64
	for partition := range int32(3) {
		starts = append(starts, must(client.GetOffset(name, partition, sarama.OffsetOldest)))
	}
	same("where partitions begin", starts, []int64{0, 7, 10})
	no(client.Close())

	groups(version, admin, name)

	no(admin.DeleteTopic(name))
	fails("deletion again", admin.DeleteTopic(name), sarama.ErrUnknownTopicOrPartition)
	no(admin.Close())
}

func groups(version sarama.KafkaVersion, admin sarama.ClusterAdmin, name string) {
	reader := join(config(version), name, name, nil, mark)
	reader.take(13)
	same("protocol type", must(admin.ListConsumerGroups())[name], "consumer")
	group := must(admin.DescribeConsumerGroups([]string{name}))[0]
	same("as it is described", []string{group.State, group.ProtocolType, group.Protocol},
		[]string{"Stable", "consumer", "range"})
	same("members", len(group.Members), 1)
	for _, member := range group.Members {
		assignment := must(member.GetMemberAssignment())
		same("what they hold", assignment.Topics, map[string][]int32{name: {0, 1, 2}})
	}
	fails("deletion of a group with members", admin.DeleteConsumerGroup(name),
		sarama.ErrNonEmptyGroup)
	fails("deletion of an offset in use", admin.DeleteConsumerGroupOffset(name, name, 0),
		sarama.ErrGroupSubscribedToTopic)
	reader.leave()

	same("without members", must(admin.DescribeConsumerGroups([]string{name}))[0].State, "Empty")
	no(admin.DeleteConsumerGroupOffset(name, name, 0))
	told := must(admin.ListConsumerGroupOffsets(name, map[string][]int32{name: {0, 1}}))
	same("an offset that is gone", told.GetBlock(name, 0).Offset, int64(-1))
	same("one that is not", told.GetBlock(name, 1).Offset, int64(10))
	no(admin.DeleteConsumerGroup(name))
	fails("deletion again", admin.DeleteConsumerGroup(name), sarama.ErrGroupIDNotFound)
	_, isListed := must(admin.ListConsumerGroups())[name]
	same("in the list", isListed, false)
	same("once it is gone", must(admin.DescribeConsumerGroups([]string{name}))[0].State, "Dead")
}

func belong(group, topic string) {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	reader := join(config(sarama.DefaultVersion), group, topic, nil,
		func(session sarama.ConsumerGroupSession, message *sarama.ConsumerMessage) {
			fmt.Printf("record %d %d\n", message.Partition, message.Offset)
			mark(session, message)
		})
	<-stop
	reader.leave()
}

type user struct {
	ID   int    `json:"id"`
	Name string `json:"name"`
}

type notification struct {
	From    user   `json:"from"`
	To      user   `json:"to"`
	Message string `json:"message"`
}

// Messages are keyed by who gets them. A group's member sorts them by that, and who watches a
// partition counts its messages until SIGTERM.
func notifications(topic string) {
	const partitions, count = 4, 200
	users := []user{{1, "Emma"}, {2, "Bruno"}, {3, "Rick"}, {4, "Lena"}, {5, "Zoë"}}
	create(sarama.DefaultVersion, topic, partitions)

	var mutex sync.Mutex
	got := make(map[string][]notification)
	reader := join(config(sarama.DefaultVersion), topic+"-group", topic, nil,
		func(session sarama.ConsumerGroupSession, message *sarama.ConsumerMessage) {
			var it notification
			no(json.Unmarshal(message.Value, &it))
			mutex.Lock()
			defer mutex.Unlock()
			got[string(message.Key)] = append(got[string(message.Key)], it)
			mark(session, message)
		})
	// All that goes to the user 2 goes there, and maybe more.
	watched := partition("2", partitions)
	watch := startWatch(topic, watched)

	defaults := config(sarama.DefaultVersion)
	defaults.Producer.Partitioner = sarama.NewConfig().Producer.Partitioner
	defaults.Producer.RequiredAcks = sarama.WaitForAll
	producer, end := newProducer(defaults)
	sent := make(map[string][]notification)
	inPartition := make(map[int32]int64)
	for at := range count {
		// Steps of 1 and 2 bring together each with each.
		it := notification{users[at%5], users[at*2%5], fmt.Sprintf("message %d", at)}
		key := strconv.Itoa(it.To.ID)
		to, offset, err := producer.SendMessage(&sarama.ProducerMessage{
			Topic: topic, Key: sarama.StringEncoder(key),
			Value: sarama.ByteEncoder(must(json.Marshal(it))),
		})
		no(err)
		same("partition of "+key, to, partition(key, partitions))
		same("offset", offset, inPartition[to])
		sent[key] = append(sent[key], it)
		inPartition[to]++
	}
	end()

	reader.take(count)
	reader.leave()
	same("what users got", got, sent)
	until("it was watched", func() bool { return watch.counted.Load() == inPartition[watched] })
	no(syscall.Kill(os.Getpid(), syscall.SIGTERM))
	<-watch.done
	fmt.Println("counted", watch.counted.Load())
}

// As Sarama hashes by default: FNV-1a, whose sign is dropped.
func partition(key string, partitions int32) int32 {
	hash := fnv.New32a()
	must(hash.Write([]byte(key)))
	number := int32(hash.Sum32()) % partitions
	return max(number, -number)
}

type watch struct {
	counted atomic.Int64
	done    chan struct{}
}

func startWatch(topic string, partition int32) *watch {
	it := &watch{done: make(chan struct{})}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	consumer := must(sarama.NewConsumer(addresses, config(sarama.DefaultVersion)))
	reader := must(consumer.ConsumePartition(topic, partition, sarama.OffsetOldest))
	go func() {
		defer close(it.done)
		for {
			select {
			case err := <-reader.Errors():
				fail("%v", err)
			case <-reader.Messages():
				it.counted.Add(1)
			case <-stop:
				no(reader.Close())
				no(consumer.Close())
				return
			}
		}
	}()
	return it
}
