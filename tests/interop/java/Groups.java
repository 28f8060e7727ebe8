import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.AlterConfigOp.OpType;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.GroupListing;
import org.apache.kafka.clients.admin.MemberToRemove;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.FencedInstanceIdException;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.GroupNotEmptyException;
import org.apache.kafka.common.errors.GroupSubscribedToTopicException;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.OffsetOutOfRangeException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownMemberIdException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** What is checked of groups and of administration; each feature has its own topic and group. */
class Groups {
    private static final int PARTITIONS = 3;
    private static final Duration BRIEFLY = Duration.ofMillis(50);

    private final Check check;
    private final String prefix;
    /** How many records there are in each feature's topic. */
    private final Map<String, Integer> produced = new HashMap<>();

    Groups(Check check, String prefix) {
        this.check = check;
        this.prefix = prefix;
    }

    private interface Feature {
        void check() throws Exception;
    }

    void all() throws Exception {
        feature("alone", this::alone);
        // With the default assignors, of which a group takes the first: range.
        feature("rebalance", () -> rebalance("rebalance", Map.of(), "range"));
        feature("cooperative", this::cooperative);
        feature("static", this::staticMembers);
        feature("commit", this::commit);
        feature("seek", this::seek);
        feature("admin", this::administration);
    }

    private static void feature(String name, Feature feature) throws Exception {
        feature.check();
        System.out.println("feature " + name);
    }

    /** A consumer in a feature's group, and all that has happened to it. */
    private class Member implements ConsumerRebalanceListener, AutoCloseable {
        final KafkaConsumer<String, String> consumer;
        final List<String> values = new ArrayList<>();
        final Set<TopicPartition> revoked = new HashSet<>();
        int assignments = 0;

        Member(String feature, Map<String, Object> more) {
            Map<String, Object> settings = new HashMap<>(Map.of("group.id", prefix + feature,
                    // The group's leader asks for its turn at each heartbeat.
                    "heartbeat.interval.ms", 200, "session.timeout.ms", 20_000));
            settings.putAll(more);
            consumer = check.consumer(settings);
            consumer.subscribe(List.of(prefix + feature), this);
        }

        void poll() {
            for (var record : consumer.poll(BRIEFLY)) {
                if (!owns(record.partition())) {
                    throw new AssertionError("it was handed a record of another's: " + record);
                }
                values.add(record.value());
            }
        }

        boolean owns(int partition) {
            return consumer.assignment().stream().anyMatch(it -> it.partition() == partition);
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            assignments++;
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            revoked.addAll(partitions);
        }

        @Override
        public void close() {
            consumer.close();
        }
    }

    /** So many more records in each partition, whose values are their numbers from 0 on. */
    private void produce(String feature, int each) {
        int from = produced.merge(feature, PARTITIONS * each, Integer::sum) - PARTITIONS * each;
        check.produce(IntStream.range(from, from + PARTITIONS * each).mapToObj(at ->
                new ProducerRecord<String, String>(prefix + feature, at % PARTITIONS,
                        Check.FIRST_TIME + 1000L * at, null, Integer.toString(at))).toList(),
                Map.of());
    }

    private void create(String feature) {
        check.create(prefix + feature, PARTITIONS);
    }

    private List<TopicPartition> partitions(String feature) {
        return Check.partitions(prefix + feature, PARTITIONS);
    }

    /** These members together have read all that was produced, each record once; they commit. */
    private void readAll(String feature, Member... members) {
        int count = produced.get(feature);
        Check.until("reading of " + count + " records", () -> {
            Stream.of(members).forEach(Member::poll);
            return Stream.of(members).mapToInt(it -> it.values.size()).sum() >= count;
        });
        Check.same("each record, once", Stream.of(members).flatMap(it -> it.values.stream())
                .map(Integer::valueOf).sorted().toList(),
                IntStream.range(0, count).boxed().toList());
        Stream.of(members).forEach(it -> it.consumer.commitSync());
    }

    /** The members have partitions each, and together each partition once. */
    private void waitUntilShared(String feature, Member... members) {
        Check.until("sharing of partitions", () -> {
            Stream.of(members).forEach(Member::poll);
            List<TopicPartition> all = Stream.of(members)
                    .flatMap(it -> it.consumer.assignment().stream()).toList();
            return Stream.of(members).noneMatch(it -> it.consumer.assignment().isEmpty())
                    && all.size() == PARTITIONS
                    && Set.copyOf(all).equals(Set.copyOf(partitions(feature)));
        });
    }

    private void alone() {
        create("alone");
        produce("alone", 30);
        try (Member member = new Member("alone", Map.of())) {
            readAll("alone", member);
            Check.same("its partitions", member.consumer.assignment(),
                    Set.copyOf(partitions("alone")));
        }
    }

    private ConsumerGroupDescription describe(Admin admin, String feature) {
        String group = prefix + feature;
        return Check.get(admin.describeConsumerGroups(List.of(group)).all()).get(group);
    }

    /** Returns what the first member had to give up when the second one joined. */
    private Set<TopicPartition> rebalance(String feature, Map<String, Object> settings,
            String assignor) {
        create(feature);
        produce(feature, 10);
        Member first = new Member(feature, settings);
        readAll(feature, first);
        try (Member second = new Member(feature, settings); Admin admin = check.admin()) {
            waitUntilShared(feature, first, second);
            Set<TopicPartition> revoked = Set.copyOf(first.revoked);
            var description = describe(admin, feature);
            Check.same("assignor", description.partitionAssignor(), assignor);
            Check.same("state", description.groupState(), GroupState.STABLE);
            Check.same("what each member has, as the group knows it",
                    description.members().stream().map(it -> it.assignment().topicPartitions())
                            .collect(Collectors.toSet()),
                    Set.of(first.consumer.assignment(), second.consumer.assignment()));
            produce(feature, 20);
            readAll(feature, first, second);
            Check.same("has the second one read", second.values.isEmpty(), false);
            first.close();
            waitUntilShared(feature, second);
            produce(feature, 10);
            second.values.addAll(first.values);
            readAll(feature, second);
            return revoked;
        }
    }

    /** Who has partitions keeps them while others go. */
    private void cooperative() {
        var revoked = rebalance("cooperative", Map.of("partition.assignment.strategy",
                List.of(CooperativeStickyAssignor.class)), "cooperative-sticky");
        Check.same("how many partitions were given up", revoked.size(), 1);
    }

    private void staticMembers() {
        create("static");
        Map<String, Object> a = Map.of("group.instance.id", "a");
        Map<String, Object> b = Map.of("group.instance.id", "b");
        Member first = new Member("static", a);
        waitUntilShared("static", first);
        Member second = new Member("static", b);
        waitUntilShared("static", first, second);
        produce("static", 10);
        readAll("static", first, second);

        // The follower, then the leader.
        second = restart(second, b, first);
        first = restart(first, a, second);

        // While a member is there, nobody else can be it for long.
        Member other = new Member("static", a);
        Member replaced = first;
        Check.until("fencing of the one before", () -> {
            other.poll();
            try {
                replaced.poll();
                return false;
            } catch (FencedInstanceIdException error) {
                return true;
            }
        });
        replaced.close();
        other.values.addAll(replaced.values);
        waitUntilShared("static", other, second);

        // Its session would have lasted on.
        second.close();
        try (Admin admin = check.admin()) {
            var members = List.of(new MemberToRemove("b"));
            Check.get(admin.removeMembersFromConsumerGroup(prefix + "static",
                    new RemoveMembersFromConsumerGroupOptions(members)).all());
        }
        waitUntilShared("static", other);
        produce("static", 10);
        other.values.addAll(second.values);
        readAll("static", other);
        other.close();
    }

    /** Within its session, which costs no rebalance. */
    private Member restart(Member member, Map<String, Object> instance, Member other) {
        int assignments = other.assignments;
        int generation = other.consumer.groupMetadata().generationId();
        Set<TopicPartition> had = Set.copyOf(member.consumer.assignment());
        member.close();
        produce("static", 10);
        Member back = new Member("static", instance);
        back.values.addAll(member.values);
        readAll("static", back, other);
        Check.same("its partitions", back.consumer.assignment(), had);
        Check.same("assignments to the other one", other.assignments, assignments);
        Check.same("generations", List.of(back.consumer.groupMetadata().generationId(),
                other.consumer.groupMetadata().generationId()), List.of(generation, generation));
        return back;
    }

    private void commit() {
        create("commit");
        produce("commit", 30);
        List<TopicPartition> partitions = partitions("commit");
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
        for (TopicPartition it : partitions) {
            offsets.put(it, new OffsetAndMetadata(10 * it.partition() + 1, "note " + it));
        }
        try (Member member = new Member("commit", Map.of())) {
            waitUntilShared("commit", member);
            Check.same("before any commit", member.consumer.committed(Set.copyOf(partitions))
                    .values().stream().allMatch(it -> it == null), true);
            member.consumer.commitSync(offsets);
        }
        try (Admin admin = check.admin()) {
            Check.same("offsets, as the group knows them",
                    Check.get(admin.listConsumerGroupOffsets(prefix + "commit")
                            .partitionsToOffsetAndMetadata()), offsets);
        }
        long read = 0;
        try (Member member = new Member("commit", Map.of("max.poll.records", 7))) {
            waitUntilShared("commit", member);
            Check.same("committed offsets", member.consumer.committed(Set.copyOf(partitions)),
                    offsets);
            Check.until("a few records", () -> {
                member.poll();
                return member.values.size() >= 20;
            });
            read = member.values.size();
            member.consumer.commitSync();
            Map<TopicPartition, Long> positions = new HashMap<>();
            partitions.forEach(it -> positions.put(it, member.consumer.position(it)));
            Check.same("positions are committed",
                    member.consumer.committed(Set.copyOf(partitions)).entrySet().stream().collect(
                            Collectors.toMap(Map.Entry::getKey, it -> it.getValue().offset())),
                    positions);
        }
        try (Member member = new Member("commit", Map.of())) {
            long left = 90 - (1 + 11 + 21) - read;
            Check.until("the rest", () -> {
                member.poll();
                return member.values.size() >= left;
            });
            Check.same("how many are left", (long) member.values.size(), left);
        }
    }

    private void seek() {
        create("seek");
        produce("seek", 30);
        List<TopicPartition> partitions = partitions("seek");
        try (Member member = new Member("seek", Map.of())) {
            waitUntilShared("seek", member);
            var consumer = member.consumer;
            // Record 45 is offset 15 of partition 0.
            var wanted = partitions.stream().collect(
                    Collectors.toMap(it -> it, it -> Check.FIRST_TIME + 45_000));
            var found = consumer.offsetsForTimes(wanted);
            for (TopicPartition it : partitions) {
                Check.same("offset", found.get(it).offset(), 15L);
                Check.same("time", found.get(it).timestamp(),
                        Check.FIRST_TIME + 45_000 + 1000 * it.partition());
                consumer.seek(it, found.get(it).offset());
            }
            member.values.clear();
            Check.until("what comes from there on", () -> {
                member.poll();
                return member.values.size() >= 45;
            });
            Check.same("what came from there on",
                    member.values.stream().map(Integer::valueOf).sorted().toList(),
                    IntStream.range(45, 90).boxed().toList());
            TopicPartition last = partitions.get(2);
            var none = consumer.offsetsForTimes(Map.of(last, Check.FIRST_TIME + 89_001));
            Check.same("after the last", none.get(last), null);
            Check.same("begin and end", List.of(consumer.beginningOffsets(partitions).get(last),
                    consumer.endOffsets(partitions).get(last)), List.of(0L, 30L));
        }
        try (Admin admin = check.admin()) {
            TopicPartition first = partitions.get(0);
            for (var it : Map.of(OffsetSpec.earliest(), 0L, OffsetSpec.latest(), 30L,
                    OffsetSpec.maxTimestamp(), 29L,
                    OffsetSpec.forTimestamp(Check.FIRST_TIME + 3001), 2L).entrySet()) {
                var result = admin.listOffsets(Map.of(first, it.getKey()));
                Check.same(it.getKey().toString(),
                        Check.get(result.partitionResult(first)).offset(), it.getValue());
            }
        }
    }

    private void administration() {
        try (Admin admin = check.admin()) {
            topics(admin);
            groups(admin);
            deletion(admin);
        }
    }

    private static String setting(Admin admin, ConfigResource resource, String name) {
        return Check.get(admin.describeConfigs(List.of(resource)).all()).get(resource).get(name)
                .value();
    }

    private void topics(Admin admin) {
        String topic = prefix + "admin";
        NewTopic wanted = new NewTopic(topic, 2, (short) 1)
                .configs(Map.of("retention.ms", "3600000"));
        Check.get(admin.createTopics(List.of(wanted)).all());
        Check.refused("creation again", admin.createTopics(List.of(wanted)).all(),
                TopicExistsException.class);
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        Check.same("a setting", setting(admin, resource, "retention.ms"), "3600000");
        Check.get(alter(admin, resource, "retention.ms", "7200000", OpType.SET));
        Check.same("when set", setting(admin, resource, "retention.ms"), "7200000");
        Check.get(alter(admin, resource, "cleanup.policy", "compact", OpType.APPEND));
        // In whichever order: they are a set.
        Check.same("when added to", Set.of(setting(admin, resource, "cleanup.policy").split(",")),
                Set.of("delete", "compact"));
        Check.get(alter(admin, resource, "cleanup.policy", "compact", OpType.SUBTRACT));
        Check.same("when taken from", setting(admin, resource, "cleanup.policy"), "delete");
        Check.get(alter(admin, resource, "retention.ms", "", OpType.DELETE));
        Check.same("when deleted", setting(admin, resource, "retention.ms"), "604800000");
        Check.refused("a wrong value", alter(admin, resource, "retention.ms", "long", OpType.SET),
                InvalidConfigurationException.class);
        ConfigResource nowhere =
                new ConfigResource(ConfigResource.Type.TOPIC, prefix + "nowhere");
        Check.refused("a setting of no topic", alter(admin, nowhere, "retention.ms", "1",
                OpType.SET), UnknownTopicOrPartitionException.class);

        Check.get(admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(3))).all());
        Check.refused("fewer partitions",
                admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(2))).all(),
                InvalidPartitionsException.class);
        var description = Check.get(admin.describeTopics(List.of(topic)).allTopicNames());
        Check.same("partitions", description.get(topic).partitions().size(), 3);
        Check.refused("an unknown topic",
                admin.describeTopics(List.of(prefix + "nowhere")).allTopicNames(),
                UnknownTopicOrPartitionException.class);
        Check.same("brokers", Check.get(admin.describeCluster().nodes()).stream()
                .map(it -> it.host() + ":" + it.port()).toList(), List.of(check.address));
        Check.same("partitions in folders", Check.get(admin.describeLogDirs(List.of(1))
                .allDescriptions()).get(1).values().stream()
                .flatMap(it -> it.replicaInfos().keySet().stream())
                .filter(it -> it.topic().equals(topic)).count(), 3L);
    }

    private static KafkaFuture<Void> alter(Admin admin,
            ConfigResource resource, String name, String value, OpType how) {
        var change = new AlterConfigOp(new ConfigEntry(name, value), how);
        return admin.incrementalAlterConfigs(Map.of(resource, List.of(change))).all();
    }

    private void groups(Admin admin) {
        String group = prefix + "admin";
        var partition = new TopicPartition(group, 0);
        produce("admin", 10);
        try (Member member = new Member("admin", Map.of("client.id", "member"))) {
            readAll("admin", member);
            Check.same("groups", Check.get(admin.listGroups().all()).stream()
                    .filter(it -> it.groupId().equals(group))
                    .map(GroupListing::groupState).toList(),
                    List.of(Optional.of(GroupState.STABLE)));
            Check.same("members", describe(admin, "admin").members().stream()
                    .map(it -> it.clientId()).toList(), List.of("member"));
            Check.refused("deletion of a group with members",
                    admin.deleteConsumerGroups(List.of(group)).all(),
                    GroupNotEmptyException.class);
            Check.refused("deletion of offsets that are in use",
                    admin.deleteConsumerGroupOffsets(group, Set.of(partition)).all(),
                    GroupSubscribedToTopicException.class);
            Check.refused("offsets set from outside while there are members",
                    admin.alterConsumerGroupOffsets(group,
                            Map.of(partition, new OffsetAndMetadata(5))).all(),
                    UnknownMemberIdException.class);
        }
        Check.same("state", describe(admin, "admin").groupState(), GroupState.EMPTY);
        Check.get(admin.alterConsumerGroupOffsets(group,
                Map.of(partition, new OffsetAndMetadata(5))).all());
        Check.get(admin.deleteConsumerGroupOffsets(group,
                Set.of(new TopicPartition(group, 1))).all());
        // Who has read records commits their leader's epoch, too.
        Check.same("offsets", Check.get(admin.listConsumerGroupOffsets(group)
                .partitionsToOffsetAndMetadata()),
                Map.of(partition, new OffsetAndMetadata(5), new TopicPartition(group, 2),
                        new OffsetAndMetadata(10, Optional.of(0), "")));
        Check.get(admin.deleteConsumerGroups(List.of(group)).all());
        Check.refused("deletion again", admin.deleteConsumerGroups(List.of(group)).all(),
                GroupIdNotFoundException.class);
        // An error from DescribeGroups 6 on only, which `ottla serve` does not have.
        Check.same("state of no group", describe(admin, "admin").groupState(), GroupState.DEAD);
    }

    private void deletion(Admin admin) {
        String topic = prefix + "admin";
        var partition = new TopicPartition(topic, 0);
        Check.same("where the log begins then", Check.get(admin.deleteRecords(
                Map.of(partition, RecordsToDelete.beforeOffset(4))).lowWatermarks().get(partition))
                .lowWatermark(), 4L);
        Check.same("the beginning", Check.get(admin.listOffsets(
                Map.of(partition, OffsetSpec.earliest())).partitionResult(partition)).offset(), 4L);
        Check.refused("deletion of records that are not there", admin.deleteRecords(
                Map.of(partition, RecordsToDelete.beforeOffset(11))).all(),
                OffsetOutOfRangeException.class);
        Check.get(admin.deleteTopics(List.of(topic)).all());
        Check.refused("deletion again", admin.deleteTopics(List.of(topic)).all(),
                UnknownTopicOrPartitionException.class);
        Check.same("is it among all topics", Check.get(admin.listTopics().names()).contains(topic),
                false);
    }
}
