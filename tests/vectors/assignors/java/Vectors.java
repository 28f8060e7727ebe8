import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import java.util.zip.CRC32C;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.Assignment;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.GroupSubscription;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.Subscription;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.consumer.RoundRobinAssignor;
import org.apache.kafka.clients.consumer.StickyAssignor;
import org.apache.kafka.clients.consumer.internals.ConsumerProtocol;
import org.apache.kafka.common.Cluster;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;

/** Prints what the Java client's assignors do in random groups. The README has the format. */
public final class Vectors {
    private static final Node NODE = new Node(0, "localhost", 9092);
    private static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    private static final int[] HISTORIES = {50, 50, 120, 120};
    /** Later ones that turn up what is rare: old owners, and moves that undo others. */
    private static final int[][] RARE =
        {{}, {}, {140, 215, 308, 566, 748, 833}, {131, 237, 519, 557, 639, 674}};
    /** A topic's letter is its place in the history's list. */
    private static final String LETTERS = "abcdefgh";
    /** Some have the same hash: "Aa" and "BB", and what is made of them. */
    private static final List<String> TOPICS = List.of(
        "Aa", "BB", "AaAa", "BBBB", "AaBB", "BBAa", "orders", "payments", "clicks", "logs", "a", "b",
        "t-1", "t.2", "t_3", "events", "audit.2026", "x", "A", "z9", "Zebra", "users", "metrics");
    private static final List<String> IDS = List.of(
        "AaAa", "BBBB", "AaBB", "BBAa", "é", "\ud800\udc00", "\uffee", "consumer-1", "consumer-2");

    private static Random random;
    private static int left;
    private static int failed;

    public static void main(String[] args) {
        for (int strategy = 0; strategy < HISTORIES.length; strategy++) {
            for (int number = 0; number < HISTORIES[strategy]; number++) print(strategy, number);
            for (int number : RARE[strategy]) print(strategy, number);
        }
        System.err.println("left out: " + left + " to non-subscribers, " + failed + " failed");
    }

    private static void print(int strategy, int number) {
        random = new Random(strategy * 1_000L + number);
        new History(strategy, number).print();
    }

    private static boolean chance(int percent) {
        return random.nextInt(100) < percent;
    }

    private static <T> T oneOf(List<T> all) {
        return all.get(random.nextInt(all.size()));
    }

    private static ConsumerPartitionAssignor assignor(int strategy) {
        return switch (strategy) {
            case 0 -> new RangeAssignor();
            case 1 -> new RoundRobinAssignor();
            case 2 -> new StickyAssignor();
            default -> new CooperativeStickyAssignor();
        };
    }

    private static final class Member {
        String id;
        Optional<String> instance = Optional.empty();
        Optional<String> rack = Optional.empty();
        List<String> topics;
        List<TopicPartition> owned = List.of();
        int generation = -1;
        ConsumerPartitionAssignor assignor;
        /** Of a member that makes things up. */
        ByteBuffer forgedUserData;
        boolean isForged;

        Subscription subscription() {
            ByteBuffer userData = isForged
                ? (forgedUserData == null ? null : forgedUserData.duplicate())
                : assignor.subscriptionUserData(new TreeSet<>(topics));
            return new Subscription(topics, userData, owned, generation, rack);
        }
    }

    private static final class History {
        final int strategy;
        final boolean isForged;
        final boolean isUniform = chance(50);
        final boolean withBytes;
        final List<String> names;
        final int[] counts;
        /** What the counts were at most. */
        final int[] largest;
        /** All that there ever were: none is used again. */
        final Set<String> ids = new HashSet<>();
        List<Member> members = new ArrayList<>();
        ConsumerPartitionAssignor leader;

        History(int strategy, int number) {
            this.strategy = strategy;
            isForged = number % 3 == 2;
            withBytes = number % 40 == 0;
            List<String> shuffled = new ArrayList<>(TOPICS);
            Collections.shuffle(shuffled, random);
            names = shuffled.subList(0, 1 + random.nextInt(LETTERS.length()));
            counts = names.stream().mapToInt(name -> random.nextInt(10)).toArray();
            largest = counts.clone();
            int size = 1 + random.nextInt(12);
            for (int i = 0; i < size; i++) join();
        }

        void join() {
            Member member = new Member();
            do {
                member.id = chance(20) ? oneOf(IDS) : "m" + Integer.toString(random.nextInt(46_656), 36);
            } while (!ids.add(member.id));
            if (chance(25)) member.instance = Optional.of("s" + random.nextInt(1_000));
            if (chance(10)) member.rack = Optional.of("rack" + random.nextInt(3));
            member.assignor = assignor(strategy);
            member.topics = isUniform ? sorted(names) : someTopics();
            members.add(member);
        }

        List<String> someTopics() {
            List<String> some = new ArrayList<>(names);
            some.removeIf(name -> chance(40));
            return chance(3) ? List.of() : some.isEmpty() ? List.of(names.get(0)) : sorted(some);
        }

        static List<String> sorted(List<String> topics) {
            return new ArrayList<>(new TreeSet<>(topics));
        }

        void print() {
            StringBuilder header = new StringBuilder("H " + assignor(strategy).name());
            names.forEach(name -> header.append(' ').append(name));
            OUT.println(header);
            int rounds = isForged || strategy < 2 ? 1 : 3 + random.nextInt(4);
            for (int generation = 1; generation <= rounds; generation++) {
                if (isForged) forge();
                if (generation > 1) happen();
                if (!round(generation)) return;
            }
        }

        /** Members claim what they like. */
        void forge() {
            List<Integer> generations = List.of(-1, -1, 0, 3, 3, 4);
            for (Member member : members) {
                member.isForged = true;
                member.generation = oneOf(generations);
                member.owned = someClaims();
                member.topics = new ArrayList<>(member.topics);
                Collections.shuffle(member.topics, random);
                if (chance(80)) member.forgedUserData = forgedUserData(oneOf(generations));
            }
        }

        List<TopicPartition> someClaims() {
            List<TopicPartition> claims = new ArrayList<>();
            for (int i = random.nextInt(9); i > 0; i--) {
                int topic = random.nextInt(names.size());
                if (counts[topic] > 0) {
                    claims.add(new TopicPartition(names.get(topic), random.nextInt(counts[topic])));
                }
            }
            return claims;
        }

        ByteBuffer forgedUserData(int generation) {
            StickyAssignor forger = new StickyAssignor();
            forger.onAssignment(new Assignment(someClaims()), metadata(generation));
            ByteBuffer bytes = strategy == 3 ? ByteBuffer.allocate(4).putInt(0, generation)
                : forger.subscriptionUserData(Set.of());
            // Version 0 of the sticky assignor's, and what is none.
            if (chance(20)) bytes.limit(Math.max(0, bytes.limit() - 4));
            if (chance(10)) bytes.limit(random.nextInt(bytes.limit() + 1));
            return bytes.slice();
        }

        @SuppressWarnings("removal")
        static ConsumerGroupMetadata metadata(int generation) {
            return new ConsumerGroupMetadata("group", generation, "", Optional.empty());
        }

        /** What happens between two rebalances. */
        void happen() {
            if (chance(20)) return;
            while (chance(40) && members.size() > 1) members.remove(random.nextInt(members.size()));
            while (chance(40) && members.size() < 12) join();
            if (chance(30)) grow(random.nextInt(counts.length));
            if (chance(10)) counts[random.nextInt(counts.length)] = 0;
            if (!isUniform && chance(40)) oneOf(members).topics = someTopics();
            if (chance(10)) {
                Member fenced = oneOf(members);
                fenced.generation = -1;
                fenced.owned = List.of();
            }
            if (chance(50)) Collections.shuffle(members, random);
        }

        /** A topic that was deleted comes back no smaller: nobody has what does not exist. */
        void grow(int topic) {
            largest[topic] += random.nextInt(3);
            counts[topic] = largest[topic];
        }

        boolean round(int generation) {
            StringBuilder text = new StringBuilder("R " + generation);
            boolean isNew = leader == null || members.stream().noneMatch(m -> m.assignor == leader);
            if (isNew) leader = oneOf(members).assignor;
            text.append(isNew ? " new" : " same");
            Arrays.stream(counts).forEach(count -> text.append(' ').append(count));
            text.append('\n');

            Map<String, Subscription> subscriptions = new HashMap<>();
            Map<String, byte[]> sent = new HashMap<>();
            CRC32C crc = new CRC32C();
            for (Member member : members) {
                Subscription subscription = member.subscription();
                for (short version = 0; version <= 3; version++) {
                    crc.update(ConsumerProtocol.serializeSubscription(subscription, version));
                }
                ByteBuffer bytes = ConsumerProtocol.serializeSubscription(subscription);
                sent.put(member.id, bytes(bytes));
                // A real member's goes over the wire. A forged one need not have sorted topics.
                if (!isForged) subscription = ConsumerProtocol.deserializeSubscription(bytes);
                subscription.setGroupInstanceId(member.instance);
                subscriptions.put(member.id, subscription);
            }
            Map<String, Assignment> assignments;
            try {
                assignments = leader.assign(cluster(), new GroupSubscription(subscriptions))
                    .groupAssignment();
            } catch (RuntimeException e) {
                failed++;
                return false;
            }
            for (Member member : members) {
                for (TopicPartition partition : assignments.get(member.id).partitions()) {
                    if (!member.topics.contains(partition.topic())) {
                        left++;
                        return false;
                    }
                }
            }
            for (Member member : members) {
                ByteBuffer bytes = ConsumerProtocol.serializeAssignment(assignments.get(member.id));
                crc.update(bytes.duplicate());
                text.append(line(member, sent.get(member.id), bytes(bytes), generation));
            }
            text.append("C ").append(Long.toHexString(crc.getValue()));
            OUT.println(text);
            return true;
        }

        /** Describes a member, and hands it its assignment. */
        String line(Member member, byte[] sent, byte[] received, int generation) {
            List<TopicPartition> assigned =
                ConsumerProtocol.deserializeAssignment(ByteBuffer.wrap(received)).partitions();
            StringBuilder letters = new StringBuilder();
            member.topics.forEach(topic -> letters.append(letter(topic)));
            String userData = !member.isForged ? "*"
                : member.forgedUserData == null ? "-"
                : "=" + HexFormat.of().formatHex(bytes(member.forgedUserData));
            // Some never hear of it.
            boolean hears = !chance(8);
            String line = String.join(" ", hears ? "M" : "L", member.id,
                member.instance.orElse("-"), member.rack.orElse("-"), "." + letters,
                "." + text(member.owned), Integer.toString(member.generation), userData,
                "." + text(assigned)) + "\n";
            if (withBytes) {
                HexFormat hex = HexFormat.of();
                line += "B " + hex.formatHex(sent) + " " + hex.formatHex(received) + "\n";
            }
            if (hears) {
                member.assignor.onAssignment(new Assignment(assigned), metadata(generation));
                member.generation = generation;
                member.owned = strategy == 3 ? assigned : List.of();
            }
            return line;
        }

        /** "a0,1b7": partitions 0 and 1 of the first topic, and 7 of the second. */
        String text(List<TopicPartition> partitions) {
            StringBuilder text = new StringBuilder();
            String topic = null;
            for (TopicPartition partition : partitions) {
                text.append(partition.topic().equals(topic) ? "," : letter(partition.topic()));
                text.append(partition.partition());
                topic = partition.topic();
            }
            return text.toString();
        }

        String letter(String topic) {
            return LETTERS.substring(names.indexOf(topic)).substring(0, 1);
        }

        Cluster cluster() {
            List<PartitionInfo> partitions = new ArrayList<>();
            for (int topic = 0; topic < counts.length; topic++) {
                for (int i = 0; i < counts[topic]; i++) {
                    Node[] replicas = {NODE};
                    partitions.add(new PartitionInfo(names.get(topic), i, NODE, replicas, replicas));
                }
            }
            return new Cluster("cluster", List.of(NODE), partitions, Set.of(), Set.of());
        }
    }

    private static byte[] bytes(ByteBuffer buffer) {
        byte[] bytes = new byte[buffer.remaining()];
        buffer.duplicate().get(bytes);
        return bytes;
    }
}
